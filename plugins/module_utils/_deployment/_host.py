# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Database, Redis and listening address out of the configuration, with the options laid over.

Pure: values in, values out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlparse

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._config import (
    Setting,
    as_bool,
    as_int,
    as_text,
    decode_conn_options,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import (
    PostgresSettings,
    RedisSettings,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._config import Configuration

_SSL_KEYS = ("sslmode", "sslrootcert", "sslcert", "sslkey")
_REDIS_URLS = ("broker.url", "cache.url", "channel.url", "result_backend.url")
_ANY_ADDRESS = {"", "0.0.0.0", "[::]", "::", "*"}


class Account(NamedTuple):
    """What decides which OS user the PostgreSQL programs run as.

    :param is_root: whether another user can be become at all.
    :param unit_user: the user that the server's unit runs as, empty where not known.
    :param unit_user_exists: False for a systemd dynamic user whose unit is stopped.
    :param postgres_exists: whether there is a user ``postgres``.
    """

    is_root: bool = False
    unit_user: str = ""
    unit_user_exists: bool = False
    postgres_exists: bool = False


def postgres_settings(
    configuration: Configuration, options: dict[str, Any], account: Account
) -> tuple[PostgresSettings, dict[str, str]]:
    """Return how to reach the database, and where each value came from.

    ``postgresql.direct.*`` goes before ``postgresql.*``: a dump needs a session, which a pooler may not give.

    :raises InputError: when a value cannot be used.
    """
    sources: dict[str, str] = {}

    def pick(key: str) -> Any:
        option = options.get("postgresql_" + key)
        if option is not None:
            sources["postgresql." + key] = "option postgresql_" + key
            return option
        setting = configuration.first("postgresql.direct." + key) or configuration.get("postgresql." + key)
        if setting is not None:
            sources["postgresql." + key] = setting.source
        return setting

    def text(key: str) -> str | None:
        value = pick(key)
        return as_text(value) if isinstance(value, Setting) else value

    port = pick("port")
    conn_options = decode_conn_options(configuration.first("postgresql.direct.conn_options", "postgresql.conn_options"))
    ssl: dict[str, Any] = {key: text(key) or conn_options.get(key) or None for key in _SSL_KEYS}
    settings = PostgresSettings(
        host=text("host") or "",
        port=as_int(port, "The port of PostgreSQL", "postgresql_port") if isinstance(port, Setting) else port or 5432,
        name=text("name") or "authentik",
        user=text("user") or "authentik",
        password=text("password") or None,
        default_schema=text("default_schema") or "public",
        **ssl,
    )
    return _with_account(settings, options, account, sources), sources


def _with_account(
    settings: PostgresSettings, options: dict[str, Any], account: Account, sources: dict[str, str]
) -> PostgresSettings:
    values = dict(vars(settings), app_user=settings.user)
    chosen = options.get("postgresql_run_as")
    if chosen is not None:
        values["run_as"] = chosen or None
        sources["postgresql.run_as"] = "option postgresql_run_as"
    elif settings.is_socket and not settings.password and account.is_root:
        if account.unit_user_exists:
            values["run_as"] = None if account.unit_user == "root" else account.unit_user
            sources["postgresql.run_as"] = "user of the server's unit, for peer authentication"
        elif account.postgres_exists:
            values["run_as"] = "postgres"
            sources["postgresql.run_as"] = "database superuser, for peer authentication"
            if options.get("postgresql_user") is None:
                # Peer authentication lets this OS user in as the role of its own name only.
                values["user"] = "postgres"
                sources["postgresql.user"] = sources["postgresql.run_as"]
    return PostgresSettings(**values)


def redis_settings(
    configuration: Configuration, options: dict[str, Any]
) -> tuple[RedisSettings, dict[str, str], list[str]]:
    """Return how to reach Redis, where each value came from, and warnings.

    As in authentik, ``broker.url`` goes before ``redis.*``, and what has no URL of its own uses ``redis.*``. Where that
    is not set either, the first URL counts.

    :raises InputError: when a value cannot be used.
    """
    sources: dict[str, str] = {}
    urls = [(key, setting) for key in _REDIS_URLS for setting in [configuration.first(key)] if setting]
    by_section = configuration.any_configured("redis") and not (urls and urls[0][0] == _REDIS_URLS[0])
    from_url: dict[str, Any] = parse_redis_url(str(urls[0][1].value)) if urls and not by_section else {}

    def pick(key: str) -> Any:
        option = options.get("redis_" + key)
        if option is not None:
            sources["redis." + key] = "option redis_" + key
            return option
        if from_url:
            sources["redis." + key] = urls[0][1].source
            return from_url.get(key)
        setting = configuration.get("redis." + key)
        if setting is None:
            return None
        sources["redis." + key] = setting.source
        if key in ("port", "db"):
            return as_int(setting, "The %s of Redis" % ("port" if key == "port" else "database"), "redis_" + key)
        return as_bool(setting) if key == "tls" else as_text(setting)

    # A host that is given means TCP, whatever socket the configuration names.
    socket = pick("socket") if options.get("redis_socket") or options.get("redis_host") is None else None
    port, database = pick("port"), pick("db")
    settings = RedisSettings(
        host=pick("host") or "localhost",
        port=6379 if port is None else port,
        db=database or 0,
        username=pick("username") or None,
        password=pick("password") or None,
        tls=bool(pick("tls")),
        tls_reqs=pick("tls_reqs") or "none",
        tls_ca_cert=pick("tls_ca_cert") or None,
        socket=socket or None,
    )
    named = {key: parse_redis_url(str(setting.value)) for key, setting in urls}
    if not urls or configuration.any_configured("redis"):
        section = {key: configuration.get("redis." + key) for key in ("host", "port", "db", "socket")}
        named["redis"] = {key: setting.value for key, setting in section.items() if setting is not None}
    if options.get("redis_db") is None:
        settings = replace(settings, further_dbs=_further_databases(named, settings))
    chosen = "redis" if by_section else urls[0][0] if urls else ""
    return settings, sources, _compare_redis_servers(named, chosen)


def _redis_place(parts: dict[str, Any]) -> tuple[Any, ...]:
    """Return what tells one Redis server from another."""
    if parts.get("socket"):
        return (parts["socket"],)
    return parts.get("host") or "localhost", int(parts.get("port") or 6379)


def _further_databases(named: dict[str, dict[str, Any]], settings: RedisSettings) -> tuple[int, ...]:
    """Return the other databases of this server that the configuration names."""
    place = _redis_place({"host": settings.host, "port": settings.port, "socket": settings.socket})
    found = {int(parts.get("db") or 0) for parts in named.values() if _redis_place(parts) == place}
    return tuple(sorted(found - {settings.db}))


def _compare_redis_servers(named: dict[str, dict[str, Any]], chosen: str) -> list[str]:
    """Return a warning where the configuration names several servers."""
    if len({_redis_place(parts) for parts in named.values()}) < 2:
        return []
    return [
        "%s name different Redis servers; only that of %s is saved. Choose with the redis_* options."
        % (", ".join(named), chosen)
    ]


def parse_redis_url(text: str) -> dict[str, Any]:
    """Return the parts of a ``redis://``, ``rediss://`` or ``unix://`` URL that are set."""
    url = urlparse(text)
    query = {key: values[-1] for key, values in parse_qs(url.query).items()}
    parts: dict[str, Any] = {
        "username": unquote(url.username) if url.username else None,
        "password": unquote(url.password) if url.password else None,
    }
    database = query.get("db") or query.get("virtual_host")
    if url.scheme in ("unix", "redis+socket", "socket"):
        parts["socket"] = unquote(url.path)
    else:
        parts.update(host=url.hostname, port=url.port, tls=url.scheme == "rediss")
        database = database or url.path.strip("/")
        requirement = query.get("ssl_cert_reqs", "")
        parts["tls_reqs"] = requirement.lower().replace("cert_", "") or ("required" if parts["tls"] else None)
        parts["tls_ca_cert"] = query.get("ssl_ca_certs")
    parts["db"] = int(database) if database and database.isdigit() else 0
    return {key: value for key, value in parts.items() if value is not None}


def listen_address(configuration: Configuration) -> tuple[str, str]:
    """Return the address that the server listens on, and the URL on this host that tells whether it is ready."""
    setting = configuration.configured("listen.http") or configuration.first("listen.listen_http", "listen.http")
    value = setting.value if setting is not None else ""
    first = value[0] if isinstance(value, list) and value else value
    address = str(first).split(",", maxsplit=1)[0].strip()
    host, _colon, port = address.rpartition(":")
    host = "127.0.0.1" if host in _ANY_ADDRESS else host
    path = "/" + (as_text(configuration.get("web.path")) or "/").strip("/")
    path = path if path.endswith("/") else path + "/"
    return address, "http://%s:%s%s-/health/ready/" % (host, port or "9000", path)
