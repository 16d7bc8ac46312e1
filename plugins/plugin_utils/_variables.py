# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The names of the roles' variables: what was probably meant to be one, and which option of a module each becomes."""

from __future__ import annotations

import difflib
import os
import re
import typing as t

from ansible.module_utils.common.yaml import yaml_load

_ROLES = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "roles")
# What the playbooks read before any role is there.
_OF_PLAYBOOKS = ("authentik_hosts",)
# Variables that do not begin like this belong to somebody else.
_BEGINNING = "auth"
# Two letters changed places in the shortest words, one is missing or was added, or another one was struck.
_SIMILAR = 0.75
_SHORTEST_STEM = 3

# Options whose variable has more in front than authentik_, or another name. Where the option is a plain word, it is
# looked for as the messages use it.
_OTHERWISE = (
    (r"(admin_user|admin_password|admin_run_as|migration_timeout|restore_as|skip_privileges)", r"postgresql_\1"),
    (r"(exclude_data|exclude_table_data|exclude_databases)", r"postgresql_\1"),
    (r"method (dumpall)", r"postgresql_method=\1"),
    (r"(deployment)(?==)", r"\1"),
    (r"missing(?=: (?:warn|error))", "missing_directories"),
    (r"manage(?= to )", "manage_services"),
    (r"overwrite(?= is false|: true)", "overwrite_config"),
    (r"(?<=without )rebuild", "rebuild"),
    (r"timeout(?= more )", "services_timeout"),
    (r"mode(?==in_place)", "restore_mode"),
    (r"(?<=leave )mode(?= out)", "restore_mode"),
    (r"paths(?=: {| names )", "restore_paths"),
    (r"(?<=with )paths", "restore_paths"),
    (r"(?<=with )(directories)", r"\1"),
    (r"(?<=with )(components)(?=: \[)", r"\1"),
    (r"(?<=the option )s3", "s3"),
)
# Not within a longer name, a path or a file's name.
_APART = r"(?<![\w./-])%s(?![\w/]|\.\w)"


def known_names(roles: str = _ROLES) -> set[str]:
    """Return every variable that is documented in the argument specs of the roles, or read by a playbook."""
    names = set(_OF_PLAYBOOKS)
    for role in os.listdir(roles):
        with open(os.path.join(roles, role, "meta", "argument_specs.yml"), "rb") as specs:
            names.update(yaml_load(specs)["argument_specs"]["main"]["options"])
    return names


def misspelt(given: t.Iterable[str], known: set[str]) -> dict[str, str]:
    """Return the names that look like a mistake, each with the known name that is nearest to it.

    Names are compared word by word, so that C(authentik_redis_url) is not taken for C(authentik_redis_tls).
    """
    found = {}
    for name in sorted(set(given) - known):
        if name.startswith(_BEGINNING):
            near = [other for other in sorted(known) if _alike(name, other)]
            if near:
                found[name] = max(near, key=lambda other, name=name: _ratio(name, other))  # type: ignore[misc]
    return found


def _alike(name: str, other: str) -> bool:
    words, others = name.split("_"), other.split("_")
    if "".join(words) == "".join(others) or sorted(words) == sorted(others):
        return True
    return len(words) == len(others) and all(map(_alike_words, words, others))


def _alike_words(word: str, other: str) -> bool:
    short, long = sorted((word, other), key=len)
    return (len(short) >= _SHORTEST_STEM and long.startswith(short)) or _ratio(word, other) >= _SIMILAR


def _ratio(word: str, other: str) -> float:
    return difflib.SequenceMatcher(None, word, other, autojunk=False).ratio()


def name_variables(message: str) -> str:
    """Return a module's message with the names of the roles' variables in the place of those of its options."""
    for option, variable in _OTHERWISE:
        message = re.sub(_APART % option, "authentik_" + variable, message)
    options = [name.partition("_")[2] for name in known_names()]
    # A plain word may be just that.
    names = "|".join(sorted(filter(lambda option: "_" in option, options)))
    return re.sub(_APART % ("(%s)" % names), r"authentik_\1", message)
