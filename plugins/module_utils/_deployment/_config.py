# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""authentik's configuration, loaded in authentik's own order.

Built-in defaults, then YAML files, then ``AUTHENTIK_*`` variables; ``env://`` and ``file://`` values are followed.
Every value keeps where it came from. Pure: files are read by a function that the caller passes in.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import NamedTuple
from urllib.parse import urlparse

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable, Mapping

DEFAULT_SOURCE = "authentik's default"
_PREFIX = "AUTHENTIK_"
_DEFAULTS = {
    "postgresql": {
        "host": "localhost",
        "port": 5432,
        "name": "authentik",
        "user": "authentik",
        "password": "env://POSTGRES_PASSWORD",
        "default_schema": "public",
    },
    "redis": {"host": "localhost", "port": 6379, "db": 0, "tls": False, "tls_reqs": "none"},
    "blueprints_dir": "/blueprints",
    "cert_discovery_dir": "/certs",
    "email": {"template_dir": "/templates"},
    "listen": {"http": "0.0.0.0:9000"},
    "web": {"path": "/"},
}


class Variable(NamedTuple):
    """An environment variable's value and where it was set."""

    value: str
    source: str


class Setting(NamedTuple):
    """A configuration value and where it came from."""

    value: Any
    source: str


class Configuration:
    """The effective configuration of one authentik process.

    :ivar file_values: paths of all ``file://`` values, whether the file exists or not.
    :ivar remarks: what an operator should know about how it was read; holds no values.
    """

    def __init__(self, environment: Mapping[str, Variable], read_file: Callable[[str], str | None]) -> None:
        self._environment = environment
        self._read_file = read_file
        self._tree: dict[str, Any] = {}
        self.file_values: list[str] = []
        self.remarks: list[str] = []

    def update(self, values: Mapping[Any, Any], source: str) -> None:
        """Lay a mapping over what is there; nested mappings are merged."""
        self._merge(self._tree, values, source)

    def _merge(self, tree: dict[str, Any], values: Mapping[Any, Any], source: str) -> None:
        for key, value in values.items():
            if isinstance(value, dict):
                below = tree.get(str(key))
                tree[str(key)] = below if isinstance(below, dict) else {}
                self._merge(tree[str(key)], value, source)
            else:
                tree[str(key)] = self._resolve(value, source)

    def apply_environment(self) -> None:
        """Lay the ``AUTHENTIK_*`` variables over what is there."""
        for name, variable in self._environment.items():
            if not name.startswith(_PREFIX):
                continue
            keys = name[len(_PREFIX) :].lower().split("__")
            try:
                value = json.loads(variable.value)
            except ValueError:
                value = variable.value
            for key in reversed(keys):
                value = {key: value}
            self.update(value, variable.source)

    def _resolve(self, value: Any, source: str) -> Setting:
        if not isinstance(value, str):
            return Setting(value, source)
        try:
            url = urlparse(value)
        except ValueError:
            return Setting(value, source)  # "[" alone is enough to be no URL
        if url.scheme == "env":
            variable = self._environment.get(url.netloc)
            if variable is None:
                return Setting(url.query, "%s, env://%s (not set)" % (source, url.netloc))
            return Setting(variable.value, "%s, env://%s" % (source, url.netloc))
        if url.scheme == "file":
            self.file_values.append(url.path)
            content = self._read_file(url.path)
            if content is None:
                self.remarks.append("%s names file://%s, which does not exist" % (source, url.path))
                return Setting(url.query, "%s, file://%s (missing)" % (source, url.path))
            return Setting(content.strip(), "%s, file://%s" % (source, url.path))
        return Setting(value, source)

    def get(self, path: str) -> Setting | None:
        """Return the setting at a dotted path; None where it is not set, or is null."""
        node: Any = self._tree
        for key in path.split("."):
            node = node.get(key) if isinstance(node, dict) else None
        return node if isinstance(node, Setting) and node.value is not None else None

    def first(self, *paths: str) -> Setting | None:
        """Return the first of several paths that is set to something that is not empty."""
        for path in paths:
            setting = self.get(path)
            if setting is not None and setting.value != "":
                return setting
        return None

    def configured(self, path: str) -> Setting | None:
        """Return the setting at a path unless it is authentik's default."""
        setting = self.get(path)
        return None if setting is None or setting.source.startswith(DEFAULT_SOURCE) else setting

    def any_configured(self, path: str) -> bool:
        """Tell whether anything at or below a path is set other than by authentik's defaults."""
        node: Any = self._tree
        for key in path.split("."):
            node = node.get(key) if isinstance(node, dict) else None
        return any(not leaf.source.startswith(DEFAULT_SOURCE) for leaf in _leaves(node))


def load_configuration(
    documents: Iterable[tuple[str, Any]], environment: Mapping[str, Variable], read_file: Callable[[str], str | None]
) -> Configuration:
    """Build the configuration from YAML documents and an environment.

    :param documents: ``(source, value)`` in authentik's loading order.
    :param read_file: returns the text of a ``file://`` target, None where it does not exist.
    :raises InputError: when a document is no mapping.
    """
    configuration = Configuration(environment, read_file)
    configuration.update(_DEFAULTS, DEFAULT_SOURCE)
    for source, value in documents:
        if value is None:
            continue
        if not isinstance(value, dict):
            raise InputError("%s holds no mapping of configuration keys" % source, "Correct the file")
        configuration.update(value, source)
    configuration.apply_environment()
    return configuration


def _leaves(node: Any) -> list[Setting]:
    if isinstance(node, dict):
        return [leaf for below in node.values() for leaf in _leaves(below)]
    return [node] if isinstance(node, Setting) else []


def as_text(setting: Setting | None) -> str | None:
    """Return a value as text, as authentik's own libraries would turn it into text."""
    return None if setting is None else str(setting.value)


def as_int(setting: Setting, what: str, option: str) -> int:
    """Return a value as a whole number.

    :raises InputError: naming where the value came from and the option that overrides it.
    """
    try:
        return int(str(setting.value).strip())
    except ValueError:
        cause = "%s is no whole number (from %s)" % (what, setting.source)
        raise InputError(cause, "Correct it, or give %s" % option) from None


def as_bool(setting: Setting | None) -> bool:
    """Return a value as authentik's ``get_bool`` does."""
    return setting is not None and str(setting.value).lower() == "true"


def decode_conn_options(setting: Setting | None) -> dict[str, Any]:
    """Return the libpq keywords of ``conn_options`` (JSON in base64).

    :raises InputError: when they cannot be decoded.
    """
    if setting is None or setting.value in ("", {}):
        return {}
    try:
        options = json.loads(base64.b64decode(str(setting.value), validate=True))
    except (ValueError, binascii.Error):
        options = None
    if not isinstance(options, dict):
        raise InputError(
            "conn_options of the database is no JSON mapping in base64 (from %s)" % setting.source,
            "Correct it in authentik's configuration",
        )
    return options
