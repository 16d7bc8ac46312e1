# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks the variables of the roles where Ansible's own validation lets mistakes pass."""

from __future__ import annotations

import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import (
    check_id,
    check_instance_name,
    is_id,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._controller_action import ControllerAction
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sets import LATEST
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._variables import known_names, misspelt

_SPEC: dict[str, t.Any] = {
    "instance": {"type": "str", "required": True},
    "backup_id": {"type": "str", "default": LATEST},
    "restore_id": {"type": "str"},
    "components": {"type": "list", "elements": "str", "default": []},
    "extra_paths": {"type": "dict", "default": {}},
    "rebuild_env": {"type": "dict", "default": {}},
    "own_variables": {"type": "list", "elements": "str", "default": []},
}


class ActionModule(ControllerAction):
    """Works on the controller; the host is not contacted."""

    spec = _SPEC

    def work(self, options: dict[str, t.Any], result: dict[str, t.Any], task_vars: dict[str, t.Any]) -> None:
        """Check names and values."""
        _check_names(task_vars, options["own_variables"])
        _check_values(options)
        result.update(
            changed=False,
            components=[name.strip() for name in options["components"]],
            extra_paths=options["extra_paths"],
            rebuild_env=options["rebuild_env"],
        )


def _check_names(task_vars: dict[str, t.Any], own: list[str]) -> None:
    found = misspelt(set(task_vars) - set(own), known_names())
    if found:
        raise InputError(
            "No role knows the variable%s %s"
            % (
                "s" if len(found) > 1 else "",
                ", ".join("%s (is it %s?)" % (name, near) for name, near in sorted(found.items())),
            ),
            "Correct the name; one of your own that only looks like a mistake belongs in authentik_own_variables",
        )


def _check_values(options: dict[str, t.Any]) -> None:
    try:
        check_instance_name(options["instance"])
    except InputError as exc:
        raise InputError(exc.cause, "%s: it is the value of authentik_instance" % exc.hint) from exc
    if options["backup_id"] != LATEST:
        try:
            check_id(options["backup_id"])
        except InputError as exc:
            raise InputError(exc.cause, "%s in authentik_backup_id" % exc.hint, exc.command) from exc
    if options["restore_id"] is not None and not is_id(options["restore_id"]):
        raise InputError(
            "%r is not the id of a restore" % options["restore_id"],
            "authentik_restore_id takes an id such as 20261122T040000Z-1b2c, which the last line of a restore shows",
        )
