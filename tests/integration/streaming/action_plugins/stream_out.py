# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of the test module."""

from __future__ import annotations

from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._producer import ProducerAction


class ActionModule(ProducerAction):
    """Nothing of its own."""
