# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages in the words of those who use the roles."""

from __future__ import annotations

import typing as t

from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._variables import name_variables

DOCUMENTATION = r"""
name: name_variables
short_description: Puts the roles' variables in the place of the modules' options in a message
version_added: "1.0.0"
description:
  - The messages of the modules name their options. Who uses the roles sets variables, whose names have more in front.
options:
  _input:
    description: The message of a module.
    type: str
    required: true
author:
  - The authentik_ops.recovery contributors (@authentik-ops)
"""

EXAMPLES = r"""
- name: Show an error
  ansible.builtin.debug:
    msg: "{{ 'Give postgresql_host' | authentik_ops.recovery.name_variables }}" # Give authentik_postgresql_host
"""

RETURN = r"""
_value:
  description: The message with the names of variables.
  type: str
"""


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[[str], str]]:
        """Return each filter's name and function."""
        return {"name_variables": name_variables}
