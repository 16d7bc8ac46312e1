# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The run of ``ansible-playbook`` as the owner of a restore, and which owners of this controller have ended."""

from __future__ import annotations

import os
import pwd
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._liveness import (
    owner_of,
    place,
    playbook_pid,
    process_start,
)


def this_run() -> dict[str, t.Any]:
    """Return what tells this run from every other one, and what helps people to find it."""
    mine = owner_of(playbook_pid())
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    return {
        "id": "%s:%d:%s" % (mine["place"], mine["pid"], mine["start"]),
        **mine,
        "user": user,
    }


def ended(owners: t.Iterable[dict[str, t.Any]]) -> list[str]:
    """Return the ids of those owners that were runs on this controller and are no more."""
    here = place()
    return [
        owner["id"] for owner in owners if owner["place"] == here and process_start(int(owner["pid"])) != owner["start"]
    ]


def decided(arguments: dict[str, t.Any], execute: t.Callable[[dict[str, t.Any]], dict[str, t.Any]]) -> dict[str, t.Any]:
    """Run a module that asks whether others are at work; where that hangs on runs of this controller, look after them.

    :param execute: runs the module with the given arguments.
    """
    if arguments.get("owner") is not None or arguments.get("dead") is not None:
        raise InputError("owner and dead are set by the action plugin alone", "Leave them out")
    mine = {**arguments, "owner": this_run()}
    result = execute(mine)
    dead = ended(result.get("owners") or [])
    return execute({**mine, "dead": dead}) if dead else result
