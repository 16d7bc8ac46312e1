# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the sets of an instance lie."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of the modules that work on the store alone."""

    DOCUMENTATION = r"""
options:
  store:
    description:
      - Folder on the controller that holds all backup sets. It is made, with the first set, when it does not exist.
      - V(s3://BUCKET/PREFIX) for a store in a bucket, which has to exist. O(s3) says how it is reached.
    type: str
    required: true
  instance:
    description: Name of the instance. Letters, digits, V(.), V(_) and V(-); no slash, no leading V(.).
    type: str
    required: true
"""
