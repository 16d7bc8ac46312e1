# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The images of a compose project, by which a missing one is named."""

from __future__ import annotations


class ModuleDocFragment:
    """The option of the modules that need the images of a project."""

    DOCUMENTATION = r"""
options:
  images:
    description:
      - The images that the instance had, as a backup set records them. When one is not on the host, the error names
        the digest to pull. When there is another one of the same name, a warning says so.
    type: list
    elements: dict
    default: []
    suboptions:
      service:
        description: The service of the compose project that used it.
        type: str
        required: true
      reference:
        description: Its name and tag, as the project has it.
        type: str
        required: true
      id:
        description: The engine's id of it.
        type: str
        default: ""
      digests:
        description: The registry's names for it, such as V(ghcr.io/goauthentik/server@sha256:...).
        type: list
        elements: str
        default: []
"""
