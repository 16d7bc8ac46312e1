# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells of which instances a store holds backup sets."""

from __future__ import annotations

import typing as t

from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._controller_action import ControllerAction
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._instances import instances
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import STORE_SPEC

_SPEC = {name: spec for name, spec in STORE_SPEC.items() if name != "instance"}


class ActionModule(ControllerAction):
    """Works on the controller; the host is not contacted."""

    spec = _SPEC

    def work(self, options: dict[str, t.Any], result: dict[str, t.Any], task_vars: dict[str, t.Any]) -> None:
        """Find the instances."""
        location, names = instances(options["store"], options["s3"])
        result.update(changed=False, location=location, instances=names)
