#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: authentik_variables
short_description: Checks the variables of the roles of authentik_ops.recovery
version_added: "1.0.0"
description:
  - Ansible ignores a variable whose name no role knows. This finds names that were probably meant to be one of
    those that are documented in the roles' argument specs, and refuses them with the name that is nearest.
  - Variables that begin with C(authentik_) and resemble none of those names are somebody else's, and are left alone.
  - It also refuses ids and names that cannot be any, and returns the variables that the roles' conditions use in the
    type that they are documented with, such as a list for V(postgresql,media).
options:
  instance:
    description: Value of the variable C(authentik_instance).
    type: str
    required: true
  backup_id:
    description: Value of the variable C(authentik_backup_id).
    type: str
    default: latest
  restore_id:
    description: Value of the variable C(authentik_restore_id).
    type: str
  components:
    description: Value of the variable C(authentik_components).
    type: list
    elements: str
    default: []
  extra_paths:
    description: Value of the variable C(authentik_extra_paths).
    type: dict
    default: {}
  rebuild_env:
    description: Value of the variable C(authentik_rebuild_env).
    type: dict
    default: {}
  own_variables:
    description: Names of variables that look like a mistake and are none.
    type: list
    elements: str
    default: []
attributes:
  action:
    description: Runs on the controller through an action plugin; the host is not contacted.
    support: full
  check_mode:
    description: Can run without changing anything.
    support: full
  diff_mode:
    description: Returns what has changed in diff mode.
    support: N/A
    details: Nothing is changed.
  idempotent:
    description: Running it twice in a row changes nothing the second time.
    support: full
author:
  - The authentik_ops.recovery contributors (@authentik-ops)
"""

EXAMPLES = r"""
- name: Refuse mistakes in the variables
  authentik_ops.recovery.authentik_variables:
    instance: "{{ authentik_instance }}"
    components: "{{ authentik_components }}"
  register: given
"""

RETURN = r"""
components:
  description: The components as a list.
  returned: success
  type: list
  elements: str
extra_paths:
  description: The further directories as a dictionary.
  returned: success
  type: dict
rebuild_env:
  description: The settings of a rebuilt project as a dictionary.
  returned: success
  type: dict
"""
