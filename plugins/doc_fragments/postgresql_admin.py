# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may create, rename and drop the instance's databases."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of the modules that do more to databases than their owner may."""

    DOCUMENTATION = r"""
options:
  admin_user:
    description:
      - Role that creates, renames and drops databases. A superuser, or a role with CREATEDB that is a member of the
        owner.
      - When not given, it is the instance's own role if that may, else C(postgres) through the Unix socket as the
        operating system's user C(postgres), if the module runs as root on the database's host.
    type: str
  admin_password:
    description:
      - Password of O(admin_user).
    type: str
  admin_run_as:
    description:
      - Operating system user to become for O(admin_user) (V(postgres) when that is not given), for peer authentication
        over a Unix socket. Needs root.
      - For a database in a container it is a user of the container, and O(admin_user) is by default the superuser that
        its image made.
    type: str
"""
