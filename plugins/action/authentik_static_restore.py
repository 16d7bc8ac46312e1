# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of authentik_static_restore: streams from a backup set what the module asks for."""

from __future__ import annotations

from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._consumer import ConsumerAction


class ActionModule(ConsumerAction):
    """With backup_set the artifacts come from the store, without it from src on the host."""
