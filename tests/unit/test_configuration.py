# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""authentik's configuration: loading order, indirection, and what becomes of it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment import _config, _host
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._config import Variable
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError

FILES = {"/run/secrets/password": "  from a file\n", "/run/secrets/empty": ""}


def load(documents: dict[str, Any] | None = None, environment: dict[str, str] | None = None) -> _config.Configuration:
    """Load with FILES as the files that exist and "env" as the source of all variables."""
    variables = {name: Variable(value, "env") for name, value in (environment or {}).items()}
    return _config.load_configuration((documents or {}).items(), variables, FILES.get)


ENVIRONMENT_VALUES: dict[str, tuple[dict[str, str], str, Any]] = {
    "text": ({"AUTHENTIK_POSTGRESQL__HOST": "db"}, "postgresql.host", "db"),
    "case of the key": ({"AUTHENTIK_PostgreSQL__Host": "DB"}, "postgresql.host", "DB"),
    "one underscore stays": ({"AUTHENTIK_CERT_DISCOVERY_DIR": "/c"}, "cert_discovery_dir", "/c"),
    "json number": ({"AUTHENTIK_POSTGRESQL__PORT": "6432"}, "postgresql.port", 6432),
    "json boolean": ({"AUTHENTIK_REDIS__TLS": "true"}, "redis.tls", True),
    "json text": ({"AUTHENTIK_SECRET_KEY": '"quoted"'}, "secret_key", "quoted"),
    "json null": ({"AUTHENTIK_POSTGRESQL__HOST": "null"}, "postgresql.host", None),
    "not quite json": ({"AUTHENTIK_POSTGRESQL__PASSWORD": "0123"}, "postgresql.password", "0123"),
    "python boolean": ({"AUTHENTIK_X": "True"}, "x", "True"),
    "level of its own": ({"AUTHENTIK_STORAGE": '{"backend": "s3"}'}, "storage.backend", "s3"),
    "no prefix": ({"POSTGRESQL__HOST": "db"}, "postgresql.host", "localhost"),
    "env uri": ({"AUTHENTIK_SECRET_KEY": "env://KEY", "KEY": "k"}, "secret_key", "k"),
    "env uri not set": ({"AUTHENTIK_SECRET_KEY": "env://KEY?fallback"}, "secret_key", "fallback"),
    "env uri is not followed twice": ({"AUTHENTIK_SECRET_KEY": "env://A", "A": "env://B", "B": "x"}, "secret_key", "env://B"),
    "default env uri": ({"POSTGRES_PASSWORD": "p"}, "postgresql.password", "p"),
    "file uri": ({"AUTHENTIK_X": "file:///run/secrets/password"}, "x", "from a file"),
    "file uri of an empty file": ({"AUTHENTIK_X": "file:///run/secrets/empty?d"}, "x", ""),
    "file uri missing": ({"AUTHENTIK_X": "file:///nowhere?fallback"}, "x", "fallback"),
    "other uri": ({"AUTHENTIK_X": "redis://a?b"}, "x", "redis://a?b"),
    "no uri at all": ({"AUTHENTIK_X": "//["}, "x", "//["),
}  # fmt: skip


@pytest.mark.parametrize(("environment", "path", "expected"), ENVIRONMENT_VALUES.values(), ids=ENVIRONMENT_VALUES)
def test_environment(environment: dict[str, str], path: str, expected: Any) -> None:
    setting = load(environment=environment).get(path)
    assert (setting.value if setting else None) == expected


def test_later_documents_and_the_environment_win_key_by_key() -> None:
    configuration = load(
        {
            "/etc/authentik/config.yml": {
                "postgresql": {"host": "a", "name": "n", "user": "u"},
                "blueprints_dir": "/b",
            },
            "/etc/authentik/config.d/10.yml": {"postgresql": {"host": "b", "name": "m"}},
            "/etc/authentik/config.d/20.yml": None,
        },
        {"AUTHENTIK_POSTGRESQL__HOST": "c"},
    )
    found = {key: configuration.get("postgresql." + key) for key in ("host", "name", "user", "port")}
    assert {key: tuple(setting or ()) for key, setting in found.items()} == {
        "host": ("c", "env"),
        "name": ("m", "/etc/authentik/config.d/10.yml"),
        "user": ("u", "/etc/authentik/config.yml"),
        "port": (5432, "authentik's default"),
    }
    assert configuration.configured("postgresql.port") is None
    assert configuration.any_configured("postgresql")
    assert not configuration.any_configured("redis")


def test_file_values_are_listed_and_a_missing_one_is_said() -> None:
    configuration = load({"c.yml": {"secret_key": "file:///run/secrets/password", "x": "file:///nowhere"}})
    assert configuration.file_values == ["/run/secrets/password", "/nowhere"]
    assert configuration.remarks == ["c.yml names file:///nowhere, which does not exist"]
    setting = configuration.get("secret_key")
    assert setting is not None
    assert setting.source == "c.yml, file:///run/secrets/password"


def test_a_document_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(InputError, match=r"/etc/authentik/config\.yml holds no mapping"):
        load({"/etc/authentik/config.yml": ["a"]})


def postgres(
    documents: dict[str, Any] | None = None, options: dict[str, Any] | None = None, account: Any = None
) -> Any:
    return _host.postgres_settings(load(documents), options or {}, account or _host.Account())[0]


POSTGRES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "defaults": ({}, {}, {"host": "localhost", "port": 5432, "name": "authentik", "user": "authentik", "password": None,
                          "sslmode": None, "default_schema": "public", "run_as": None, "app_user": "authentik"}),
    "socket": ({"host": ""}, {}, {"host": "", "is_socket": True}),
    "socket folder": ({"host": "/run/postgresql"}, {}, {"host": "/run/postgresql", "is_socket": True}),
    "numeric password": ({"password": 123456}, {}, {"password": "123456"}),
    "port as text": ({"port": "6432"}, {}, {"port": 6432}),
    "tls": ({"sslmode": "verify-full", "sslrootcert": "/ca", "sslcert": "/c", "sslkey": "/k"}, {},
            {"sslmode": "verify-full", "sslrootcert": "/ca", "sslcert": "/c", "sslkey": "/k"}),
    "direct first": ({"host": "pooler", "port": 6432, "user": "u", "direct": {"host": "db", "port": 5432, "user": ""}},
                     {},
                     {"host": "db", "port": 5432, "user": "u"}),
    "conn_options": ({"conn_options": base64.b64encode(b'{"sslmode": "require"}').decode()}, {},
                     {"sslmode": "require"}),
    "schema": ({"default_schema": "ak"}, {}, {"default_schema": "ak"}),
    "options win": (
        {"host": "a", "port": 1, "name": "b", "user": "c", "password": "d", "sslmode": "require",
         "default_schema": "e"},
        {"postgresql_host": "", "postgresql_port": 2, "postgresql_name": "B", "postgresql_user": "C",
         "postgresql_password": "D", "postgresql_sslmode": "disable", "postgresql_sslrootcert": "/R",
         "postgresql_sslcert": "/S", "postgresql_sslkey": "/K", "postgresql_default_schema": "E",
         "postgresql_run_as": "pg"},
        {"host": "", "port": 2, "name": "B", "user": "C", "password": "D", "sslmode": "disable", "sslrootcert": "/R",
         "sslcert": "/S", "sslkey": "/K", "default_schema": "E", "run_as": "pg"},
    ),
    "password switched off": ({"password": "d"}, {"postgresql_password": ""}, {"password": None}),
}  # fmt: skip


@pytest.mark.parametrize(("section", "options", "expected"), POSTGRES.values(), ids=POSTGRES)
def test_postgres_settings(section: dict[str, Any], options: dict[str, Any], expected: dict[str, Any]) -> None:
    settings = postgres({"config.yml": {"postgresql": section}}, options)
    assert {key: getattr(settings, key) for key in expected} == expected


@pytest.mark.parametrize(
    "section", [{"port": "54x2"}, {"conn_options": "not base64!"}, {"conn_options": base64.b64encode(b"[1]").decode()}]
)
def test_unusable_database_settings_name_their_source(section: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        postgres({"config.yml": {"postgresql": section}})
    assert "from config.yml" in caught.value.cause


NIX = _host.Account(is_root=True, unit_user="authentik", unit_user_exists=True, postgres_exists=True)
RUN_AS: dict[str, tuple[dict[str, Any], dict[str, Any], _host.Account, tuple[str | None, str]]] = {
    "peer as the unit's user": ({"host": ""}, {}, NIX, ("authentik", "authentik")),
    "dynamic user is away": ({"host": ""}, {}, NIX._replace(unit_user_exists=False), ("postgres", "postgres")),
    "role given": ({"host": ""}, {"postgresql_user": "x"}, NIX._replace(unit_user_exists=False), ("postgres", "x")),
    "service runs as root": ({"host": "/run"}, {}, NIX._replace(unit_user="root"), (None, "authentik")),
    "not root": ({"host": ""}, {}, NIX._replace(is_root=False), (None, "authentik")),
    "password": ({"host": "", "password": "p"}, {}, NIX, (None, "authentik")),
    "tcp": ({"host": "localhost"}, {}, NIX, (None, "authentik")),
    "nobody there": ({"host": ""}, {}, _host.Account(is_root=True), (None, "authentik")),
    "own user by option": ({"host": ""}, {"postgresql_run_as": ""}, NIX, (None, "authentik")),
    "by option over tcp": ({"host": "db"}, {"postgresql_run_as": "x"}, NIX, ("x", "authentik")),
}


@pytest.mark.parametrize(("section", "options", "account", "expected"), RUN_AS.values(), ids=RUN_AS)
def test_run_as(
    section: dict[str, Any], options: dict[str, Any], account: Any, expected: tuple[str | None, str]
) -> None:
    settings = postgres({"config.yml": {"postgresql": section}}, options, account)
    assert (settings.run_as, settings.user) == expected
    assert settings.app_user == options.get("postgresql_user", "authentik")


REDIS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "defaults": ({}, {}, {"host": "localhost", "port": 6379, "db": 0, "username": None, "password": None, "tls": False,
                          "tls_reqs": "none", "tls_ca_cert": None, "socket": None}),
    "section": ({"redis": {"host": "r", "port": 1, "db": 2, "username": "u", "password": 3, "tls": True,
                           "tls_reqs": "required", "tls_ca_cert": "/ca"}}, {},
                {"host": "r", "port": 1, "db": 2, "username": "u", "password": "3", "tls": True, "tls_reqs": "required",
                 "tls_ca_cert": "/ca"}),
    "tls as text": ({"redis": {"tls": "false"}}, {}, {"tls": False}),
    "socket url": ({"cache": {"url": "unix:///run/redis-authentik/redis.sock?db=3"}}, {},
                   {"socket": "/run/redis-authentik/redis.sock", "db": 3}),
    "url": ({"redis": {"host": "r", "port": 1}, "broker": {"url": "rediss://u:p%40ss@r:1/5?ssl_ca_certs=/ca"}}, {},
            {"host": "r", "port": 1, "db": 5, "username": "u", "password": "p@ss", "tls": True, "tls_reqs": "required",
             "tls_ca_cert": "/ca"}),
    "options win": (
        {"redis": {"host": "r", "port": 1, "db": 2, "username": "u", "password": "p", "tls": True}},
        {"redis_host": "R", "redis_port": 10, "redis_db": 0, "redis_username": "U", "redis_password": "",
         "redis_tls": False, "redis_tls_reqs": "optional", "redis_tls_ca_cert": "/CA"},
        {"host": "R", "port": 10, "db": 0, "username": "U", "password": None, "tls": False, "tls_reqs": "optional",
         "tls_ca_cert": "/CA"},
    ),
    "section before other urls": ({"redis": {"host": "r", "db": 1}, "cache": {"url": "redis://r/2"}}, {},
                                  {"host": "r", "db": 1}),
    "socket by option": ({"redis": {"host": "r"}}, {"redis_socket": "/s"}, {"socket": "/s"}),
    "host by option over a socket url": ({"cache": {"url": "unix:///s"}}, {"redis_host": "r"},
                                         {"host": "r", "socket": None}),
}  # fmt: skip


@pytest.mark.parametrize(("document", "options", "expected"), REDIS.values(), ids=REDIS)
def test_redis_settings(document: dict[str, Any], options: dict[str, Any], expected: dict[str, Any]) -> None:
    settings, _sources, warnings = _host.redis_settings(load({"config.yml": document}), options)
    assert {key: getattr(settings, key) for key in expected} == expected
    assert warnings == []


@pytest.mark.parametrize(
    ("document", "options", "expected"),
    [
        ({}, {}, [0]),
        ({"redis": {"db": 2}}, {}, [2]),
        # What has no URL of its own uses redis.*, so both databases are authentik's.
        ({"redis": {"db": "1"}, "cache": {"url": "redis://localhost:6379/4"}}, {}, [1, 4]),
        ({"broker": {"url": "redis://r/1"}, "cache": {"url": "redis://r:6379/4"}}, {}, [1, 4]),
        ({"broker": {"url": "redis://r/1"}, "cache": {"url": "redis://other/4"}}, {}, [1]),
        ({"broker": {"url": "unix:///s?db=1"}, "channel": {"url": "unix:///s?db=2"}, "redis": {"db": 3}}, {}, [1, 2]),
        ({"broker": {"url": "redis://r/1"}, "cache": {"url": "redis://r/4"}}, {"redis_db": 7}, [7]),
        ({"redis": {"db": 3}}, {"redis_host": "elsewhere"}, [3]),
    ],
)
def test_redis_databases_of_the_instance(
    document: dict[str, Any], options: dict[str, Any], expected: list[int]
) -> None:
    settings, _sources, _warnings = _host.redis_settings(load({"config.yml": document}), options)
    assert settings.databases == expected


def test_urls_that_name_different_redis_servers_are_warned_about() -> None:
    document: dict[str, Any] = {"cache": {"url": "redis://a"}, "broker": {"url": "redis://b"}}
    settings, _sources, warnings = _host.redis_settings(load({"config.yml": document}), {})
    assert settings.host == "b"
    assert len(warnings) == 1
    assert "broker.url, cache.url" in warnings[0]
    document = {"cache": {"url": "redis://a"}, "redis": {"host": "main"}}
    settings, _sources, warnings = _host.redis_settings(load({"config.yml": document}), {})
    assert settings.host == "main"
    assert "only that of redis is saved" in warnings[0]


@pytest.mark.parametrize(
    ("document", "address", "url"),
    [
        ({}, "0.0.0.0:9000", "http://127.0.0.1:9000/-/health/ready/"),
        ({"listen": {"http": "[::]:8000"}}, "[::]:8000", "http://127.0.0.1:8000/-/health/ready/"),
        ({"listen": {"listen_http": "10.0.0.5:80"}}, "10.0.0.5:80", "http://10.0.0.5:80/-/health/ready/"),
        ({"listen": {"http": ["[::1]:1", "0.0.0.0:2"]}}, "[::1]:1", "http://[::1]:1/-/health/ready/"),
        (
            {"listen": {"http": ":9100"}, "web": {"path": "/auth/"}},
            ":9100",
            "http://127.0.0.1:9100/auth/-/health/ready/",
        ),
    ],
)
def test_listen_address(document: dict[str, Any], address: str, url: str) -> None:
    assert _host.listen_address(load({"config.yml": document})) == (address, url)


def test_describing_settings_shows_no_secret() -> None:
    configuration = load({"c.yml": {"postgresql": {"password": "SENTINEL"}, "redis": {"password": "SENTINEL"}}})
    database = _host.postgres_settings(configuration, {}, _host.Account())[0]
    redis = _host.redis_settings(configuration, {})[0]
    assert (database.password, redis.password) == ("SENTINEL", "SENTINEL")
    assert "SENTINEL" not in json.dumps([database.describe(), redis.describe()]) + repr(database) + repr(redis)
