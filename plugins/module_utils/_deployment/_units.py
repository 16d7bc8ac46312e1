# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The systemd services of an instance: which they are, and the environment they give to authentik."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment import _systemd
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._config import Variable
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._system import System

# systemd's own order: an earlier folder hides the same name in a later one.
UNIT_DIRS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
ROLES = ("server", "worker", "outpost")
_CONTAINER_PROGRAMS = {"docker", "podman", "docker-compose", "nerdctl"}
_OTHER_PROGRAMS = {"postgres", "pg_ctl", "pg_ctlcluster", "redis-server", "valkey-server", "nginx", "caddy"}
_OUTPOSTS = r"(?:ldap|proxy|rac|radius)"
_COMMANDS = (
    (
        "worker",
        re.compile(r"\bak\s+worker\b|\bmanage(?:\.py)?\s+worker\b|\bcelery\b.*\bauthentik|\bauthentik[-_ ]worker\b"),
    ),
    ("server", re.compile(r"\bak\s+server\b|\bauthentik[-_ ]server\b|\bauthentik\S*/bin/server\b")),
    ("outpost", re.compile(r"\bak\s+%s\b|\bauthentik(?:[-_ ]|\S*/bin/|\S*/)%s\b" % (_OUTPOSTS, _OUTPOSTS))),
)
_NAMES = (
    ("worker", re.compile(r"authentik[-_]?worker(?:@.*)?$")),
    ("server", re.compile(r"authentik[-_]?server(?:@.*)?$|^authentik$")),
    ("outpost", re.compile(r"authentik[-_]?(?:outpost[-_]?)?%s(?:@.*)?$" % _OUTPOSTS)),
)


@dataclass(frozen=True)
class LoadedUnit:
    """A service as its unit file and drop-ins define it.

    :param command: the words of ``ExecStart``.
    :param working_directory: empty where none is set.
    :param env_files: absolute paths of its environment files, whether they exist or not.
    :param credentials: absolute paths of the files that it gets as systemd credentials.
    :param active: None where no systemd runs.
    :param remarks: what systemd ignores in its environment.
    :param problems: what keeps the service from starting.
    """

    name: str
    role: str
    path: str = ""
    drop_ins: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str = ""
    working_directory: str = ""
    state_directories: tuple[str, ...] = ()
    environment: dict[str, Variable] = field(default_factory=dict, repr=False)
    env_files: tuple[str, ...] = ()
    credentials: tuple[str, ...] = ()
    active: bool | None = None
    remarks: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def role_of(unit: str, command: list[str]) -> str | None:
    """Return what a service does for authentik, judged by its command and then by its name.

    :returns: ``server``, ``worker``, ``outpost``, ``container`` for one that is run by a container engine, or None.
    """
    stem = unit[: -len(".service")] if unit.endswith(".service") else unit
    program = os.path.basename(command[0]) if command else ""
    text = " ".join(command)
    if program in _OTHER_PROGRAMS:
        return None
    role = next((role for role, pattern in _COMMANDS if pattern.search(text)), None)
    role = role or next((role for role, pattern in _NAMES if pattern.search(stem)), None)
    return "container" if role and program in _CONTAINER_PROGRAMS else role


def exec_words(settings: list[tuple[str, str, str]]) -> list[str]:
    """Return the words of the last ``ExecStart``, without its prefix characters."""
    values = _systemd.effective(settings, "Service", "ExecStart")
    if not values:
        return []
    words, well_formed = _systemd.split_words(values[-1])
    words = words if well_formed else values[-1].split()
    return [words[0].lstrip("@-:+!|")] + words[1:] if words else []


def unit_name(name: str) -> str:
    """Return a service's full name: ``authentik`` is ``authentik.service``."""
    return name if name.endswith(".service") else name + ".service"


def find_units(system: System) -> tuple[dict[str, str], list[str]]:
    """Look for the services of an instance.

    :returns: role by name, and the names of services that run authentik in a container.
    """
    found: dict[str, str] = {}
    containers = []
    for name, path in sorted(_candidates(system).items()):
        text = system.read(path) or ""
        if "authentik" not in name and "authentik" not in text and not re.search(r"\bak\b", text):
            continue
        settings = _systemd.parse_unit(text)
        if _systemd.last(settings, "Service", "Type") == "oneshot":
            continue
        role = role_of(name, exec_words(settings))
        if role == "container":
            containers.append(name)
        elif role:
            found[name] = role
    return found, containers


def _candidates(system: System) -> dict[str, str]:
    """Return the unit file of each service that could be started, by the service's name."""
    paths: dict[str, str] = {}
    instances = system.list_units()
    for folder in UNIT_DIRS:
        for name in system.list_dir(folder):
            path = "%s/%s" % (folder, name)
            if name.endswith(".service"):
                paths.setdefault(name, path)
            elif name.endswith((".wants", ".requires")):
                instances += [entry for entry in system.list_dir(path) if entry.endswith(".service")]
    for name in instances:
        template = template_of(name)
        if template in paths:
            paths.setdefault(name, paths[template])
    return {name: path for name, path in paths.items() if not name.endswith("@.service") and not system.is_masked(path)}


def template_of(unit: str) -> str:
    """Return the template that a unit's name belongs to, ``worker@.service`` for ``worker@1.service``, else empty."""
    stem, at, _instance = unit.partition("@")
    return stem + "@.service" if at else ""


def load_unit(system: System, name: str, role: str, shown: dict[str, str] | None = None) -> LoadedUnit:
    """Read a service's unit file, drop-ins and environment files.

    :param shown: what systemd says of it, where systemd runs.
    :raises InputError: when there is no such unit.
    """
    shown = shown or {}
    path = shown.get("FragmentPath") or _find_fragment(system, name)
    if not path and shown.get("LoadState", "not-found") == "not-found":
        raise InputError(
            "There is no systemd unit %s on this host" % name,
            "Name the %s's unit with %s_units, or give an empty list when it has none" % (role, role),
            "systemctl list-units --all 'authentik*'",
        )
    words = _systemd.split_words(shown.get("DropInPaths", ""))[0]
    drop_ins = words if shown else _find_drop_ins(system, name)
    settings = []
    for part in [path] + drop_ins if path else drop_ins:
        settings += _systemd.parse_unit(system.read(part) or "")
    return _build(system, name, role, path, drop_ins, settings, shown)


def _build(
    system: System,
    name: str,
    role: str,
    path: str,
    drop_ins: list[str],
    settings: list[tuple[str, str, str]],
    shown: dict[str, str],
) -> LoadedUnit:
    specifiers = _systemd.unit_specifiers(name)

    def expand(text: str) -> str:
        return _systemd.expand_specifiers(text, specifiers)

    def values(key: str) -> list[str]:
        return [expand(word) for value in _systemd.effective(settings, "Service", key) for word in value.split()]

    user = expand(_systemd.last(settings, "Service", "User"))
    folder = expand(_systemd.last(settings, "Service", "WorkingDirectory")).lstrip("-")
    variables, env_files, remarks, problems = read_environment(system, name, settings, expand)
    credentials = [value for key in ("LoadCredential", "LoadCredentialEncrypted") for value in values(key)]
    state = tuple("/var/lib/" + value.partition(":")[0] for value in values("StateDirectory"))
    if state:
        variables.setdefault("STATE_DIRECTORY", Variable(":".join(state), name))
    if credentials:
        variables.setdefault("CREDENTIALS_DIRECTORY", Variable(specifiers["d"], name))
    sources = [item.partition(":")[2] for item in credentials]
    return LoadedUnit(
        name=name,
        role=role,
        path=path,
        drop_ins=tuple(drop_ins),
        command=tuple(exec_words(settings)),
        user=user,
        working_directory=(system.home_of(user or "root") or "") if folder == "~" else folder,
        state_directories=state,
        environment=variables,
        env_files=tuple(env_files),
        credentials=tuple(source for source in sources if source.startswith("/")),
        active=shown.get("ActiveState") in ("active", "activating", "reloading") if shown else None,
        remarks=tuple(remarks),
        problems=tuple(problems),
    )


def read_environment(
    system: System, name: str, settings: list[tuple[str, str, str]], expand: Any
) -> tuple[dict[str, Variable], list[str], list[str], list[str]]:
    """Return a service's variables, the paths of its environment files, remarks and problems.

    ``EnvironmentFile=`` wins over ``Environment=``, a later file over an earlier one, as systemd has it.
    """
    where = "%s, Environment=" % name
    plain, remarks = _systemd.parse_environment(_systemd.effective(settings, "Service", "Environment"), expand, where)
    variables = {key: Variable(value, where) for key, value in plain.items()}
    env_files: list[str] = []
    problems: list[str] = []
    for value in _systemd.effective(settings, "Service", "EnvironmentFile"):
        optional = value.startswith("-")
        pattern = expand(value[1:] if optional else value)
        paths = system.matches(pattern) if re.search(r"[*?\[]", pattern) else [pattern]
        for path in paths:
            env_files.append(path)
            found, more = read_env_file(system, path)
            remarks += more
            if found is None and not optional:
                problems.append("%s needs the environment file %s, which does not exist" % (name, path))
            variables.update(found or {})
    unset = [word for value in _systemd.effective(settings, "Service", "UnsetEnvironment") for word in value.split()]
    for word in unset:
        variables.pop(expand(word).partition("=")[0], None)
    return variables, env_files, remarks, problems


def read_env_file(system: System, path: str) -> tuple[dict[str, Variable] | None, list[str]]:
    """Return the variables of an environment file and remarks; None for the variables where it does not exist."""
    text = system.read(path)
    if text is None:
        return None, []
    # Only such a comment makes the version worth a program's run.
    doubtful = re.search(r"(?m)^\s*[#;].*\\\r?$", text)
    version = system.systemd_version() if doubtful else None
    variables, remarks = _systemd.parse_env_file(text, path, None if version is None else version < 254)
    return {key: Variable(value, path) for key, value in variables.items()}, remarks


def _find_fragment(system: System, name: str) -> str:
    for wanted in (name, template_of(name)):
        for folder in UNIT_DIRS:
            if wanted and wanted in system.list_dir(folder):
                return "%s/%s" % (folder, wanted)
    return ""


def _find_drop_ins(system: System, name: str) -> list[str]:
    """Return the drop-ins of a unit in the order in which systemd applies them."""
    chosen: dict[str, str] = {}
    for owner in drop_in_owners(name):
        for folder in UNIT_DIRS:
            parent = "%s/%s.d" % (folder, owner)
            for entry in system.list_dir(parent):
                if entry.endswith(".conf"):
                    chosen.setdefault(entry, "%s/%s" % (parent, entry))
    return [path for _entry, path in sorted(chosen.items()) if not system.is_masked(path)]


def drop_in_owners(name: str) -> list[str]:
    """Return the names whose ``.d`` folders hold drop-ins of a unit, the most specific first."""
    owners = [name]
    if template_of(name):
        owners.append(template_of(name))
    stem = name[: -len(".service")].partition("@")[0]
    for at in range(len(stem) - 1, 0, -1):
        if stem[at] == "-" and at < len(stem) - 1:
            owners.append(stem[: at + 1] + ".service")
    return owners + ["service"]
