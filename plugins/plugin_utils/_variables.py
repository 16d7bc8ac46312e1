# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The names of the roles' variables, and names that were probably meant to be one of them."""

from __future__ import annotations

import difflib
import os
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
