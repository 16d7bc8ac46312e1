# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who wants to change an instance."""

from __future__ import annotations


class ModuleDocFragment:
    """The options by which the modules of a restore's record learn which run asks."""

    DOCUMENTATION = r"""
options:
  owner:
    description:
      - Set by the action plugin of the same name. Do not use it in a playbook.
    type: dict
  dead:
    description:
      - Set by the action plugin of the same name. Do not use it in a playbook.
    type: list
    elements: str
"""
