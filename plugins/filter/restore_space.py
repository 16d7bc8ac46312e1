# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a restore needs of the file systems, of all components together."""

from __future__ import annotations

import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _space

DOCUMENTATION = r"""
name: restore_space
short_description: Tells whether the file systems hold all that a restore makes
version_added: "1.0.0"
description:
  - Adds up, by file system, what the components need, and what the safety set needs that is made before.
options:
  _input:
    description: What the modules that restore return as C(space), in the order in which a restore runs them.
    type: list
    elements: dict
    required: true
  in_place:
    description: Whether what is live is removed before its copy is made.
    type: bool
    default: false
  sizes:
    description:
      - How many bytes each component of the safety set takes now, as
        M(authentik_ops.recovery.authentik_safety_info) has it in RV(ignore:sizes). None where no safety set is made.
    type: dict
    default: {}
  store:
    description: What holds the safety set, as M(authentik_ops.recovery.authentik_backup_set) has it.
    type: dict
  manifest:
    description: That of the set which is restored. A safety set is taken to be compressed as well as that one.
    type: dict
    default: {}
author:
  - The authentik_ops.recovery contributors (@authentik-ops)
"""

EXAMPLES = r"""
- name: Look whether there is room
  ansible.builtin.assert:
    that: space.refusal | length == 0
    fail_msg: "{{ space.refusal }}"
  vars:
    space: "{{ restore_postgresql.space + restore_static.space | authentik_ops.recovery.restore_space }}"
"""

RETURN = r"""
_value:
  description:
    - C(plan) has a sentence for each file system that several of them share, C(refusal) says what does not fit, and is
      empty where everything does.
  type: dict
"""


def restore_space(
    parts: list[dict[str, t.Any]],
    in_place: bool = False,
    sizes: dict[str, int] | None = None,
    store: dict[str, t.Any] | None = None,
    manifest: dict[str, t.Any] | None = None,
) -> dict[str, t.Any]:
    """Return sentences for the plan, and the refusal."""
    every = list(parts)
    if sizes and store and manifest:
        needed = sum(_space.stored_size(component, size, manifest) for component, size in sizes.items())
        every.insert(0, _space.part(_space.SAFETY_SET, "the safety set", _space.FileSystem(**store), needed))
    return {"plan": _space.plan(every), "refusal": _space.refusal(every, in_place)}


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., dict[str, t.Any]]]:
        """Return each filter's name and function."""
        return {"restore_space": restore_space}
