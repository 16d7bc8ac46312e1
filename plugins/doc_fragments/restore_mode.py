# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a restore keeps what is live until its copy is proved."""

from __future__ import annotations


class ModuleDocFragment:
    """The option of the modules that restore side by side or in place."""

    DOCUMENTATION = r"""
options:
  mode:
    description:
      - V(side_by_side) builds and proves the new copy while the live one stays as it is, and keeps that afterwards.
      - V(in_place) is for a disk that does not hold both. What is live is removed before its copy is built, and nothing
        of it is kept. Only a backup set of it brings it back. It is up to the caller to have one that was made and
        verified just before, as the role C(authentik_ops.recovery.restore) does.
    type: str
    choices: [side_by_side, in_place]
    default: side_by_side
"""
