# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What of an instance a restore would replace, and with which options of the producers it is saved before."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _static
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import _catalog, _client
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis import _snapshot
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_space import measure
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import count, format_bytes

if TYPE_CHECKING:
    from typing import Any, Iterable, Sequence

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import (
        PostgresSettings,
        RedisSettings,
    )


class Found(NamedTuple):
    """One component that a restore replaces.

    :ivar saved: what is saved of it, in words; empty for what is not there.
    :ivar missing: why nothing of it is saved, in words; empty where something is.
    :ivar holds: whether it holds anything; what is empty gives no reason to make a set.
    :ivar size: bytes that it takes now.
    """

    component: str
    saved: str = ""
    missing: str = ""
    holds: bool = False
    size: int = 0


class Databases(NamedTuple):
    """Which databases are saved: options of the module ``authentik_pg_dump``."""

    method: str
    exclude_databases: list[str]


class Directories(NamedTuple):
    """How the directories that are replaced are named: options of the module ``authentik_static_dirs``."""

    components: list[str]
    directories: dict[str, str]
    extra_paths: dict[str, str]


def find_databases(settings: PostgresSettings, present: Sequence[str], bin_dir: str | None) -> tuple[Found, Databases]:
    """Look into the databases that are replaced.

    :param present: those that exist on the server.
    :raises RecoveryError: when one cannot be read.
    """
    said, others, total = [], [], 0
    for name in present:
        with _client.connect(settings, name, bin_dir=bin_dir) as session:
            held = any(relation.kind != "S" for relation in _catalog.relations(session))
            size = session.rows("SELECT pg_catalog.pg_database_size(pg_catalog.current_database()) AS bytes")[0][
                "bytes"
            ]
            others = [row["name"] for row in session.rows(_OTHERS)]
        total += size
        if held:
            said.append("%s (%s)" % (name, format_bytes(size)))
    if not said:
        what = "database %s is empty" % ", ".join(present) if present else "there is no database %s" % settings.name
        return Found("postgresql", missing=what), Databases("dump", [])
    found = Found("postgresql", "database " + ", ".join(said), holds=True, size=total)
    if list(present) == [settings.name]:
        return found, Databases("dump", [])
    return found, Databases("dumpall", [name for name in others if name not in (*present, settings.name)])


_OTHERS = "SELECT datname AS name FROM pg_catalog.pg_database WHERE NOT datistemplate"


def find_redis(settings: RedisSettings, databases: Iterable[int] | None) -> Found:
    """Count the keys that are replaced.

    :param databases: numbers of the databases that are; None for those of the instance.
    """
    facts = _snapshot.look(settings)
    keys = sum(facts.keys.get(number, 0) for number in databases or settings.databases)
    return Found("redis", "Redis (%s)" % count(keys, "key"), holds=keys > 0, size=facts.used_memory)


def find_directories(
    places: Iterable[dict[str, Any]], known: Iterable[tuple[str, str]]
) -> tuple[list[Found], Directories]:
    """Look at the directories that are replaced, and at what the instance calls them.

    :param places: component and ``live``, the path that is replaced, of each.
    :param known: component and path of the instance's directories. What lies within one of them is saved with it.
    """
    found: dict[str, Found] = {}
    options = Directories([], {}, {})
    known = [(component, os.path.realpath(path)) for component, path in known]
    for place in places:
        live = os.path.realpath(place["live"])
        if not os.path.isdir(live):
            found.setdefault(place["component"], Found(place["component"], missing="there is no %s" % live))
            continue
        above = [(path, component) for component, path in known if (live + "/").startswith(path.rstrip("/") + "/")]
        path, component = max(above, key=lambda item: len(item[0]), default=(live, place["component"]))
        if not above and component in _static.DIRECTORIES:
            options.directories[component.replace("-", "_")] = live
        elif not above:
            options.extra_paths[component[len("extra-") :]] = live
        holds = bool(os.listdir(live)) or (component in found and found[component].holds)
        size, _names = measure(path)
        found[component] = Found(component, "%s (%s)" % (component, path), holds=holds, size=size)
    options.components.extend(item.component for item in found.values() if item.saved)
    return list(found.values()), options


def sentence(found: Sequence[Found]) -> str:
    """Say what is saved before the restore, or why nothing is."""
    if not any(item.holds for item in found):
        reasons = [item.missing or "%s is empty" % item.saved for item in found]
        return "safety set: none is made, since there is nothing that it could hold%s" % (
            ": " + ", ".join(reasons) if reasons else ""
        )
    text = "safety set: what is there now is saved first: %s" % ", ".join(item.saved for item in found if item.saved)
    missing = [item.missing for item in found if item.missing]
    return text + ("; not saved: %s" % ", ".join(missing) if missing else "")
