# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A bare-metal host and a compose project beside it, each of which takes over the other's set.

What both hold is read on either side in the same words, with the programs that are there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.system import compose_oracle
from tests.system.compose_layouts import LAYOUTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.system.authentik_host import BareMetal
    from tests.system.compose_project import Project

# The host's layout -> a project of the same release and of the same versions of PostgreSQL and Redis. That of 2026
# keeps uploads in /data.
PROJECTS = {"2024": LAYOUTS["2023.10"].at("2024.12.3"), "2026": LAYOUTS["2025.12"].at("2026.2.1")}
# Those of a host's components that the project has, too: its blueprints come with the image.
SHARED = {
    "2024": ["postgresql", "redis", "media", "certs"],
    "2026": ["postgresql", "media", "certs", "custom-templates"],
}
# The stock host of 2024 has no templates of its own, as far as its configuration tells.
TEMPLATES = "/opt/authentik/templates"

FILES = r"""
cd "$0"
find . -printf '%y %m %U:%G %T@ %n %p -> %l\n' | LC_ALL=C sort
find . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum
"""
OWNER = re.compile(r"^(\w \d+ )(\d+:\d+)(?= )")


def on_host(instance: BareMetal, folders: dict[str, str]) -> dict[str, list[str]]:
    """What a host holds.

    :param folders: component -> path.
    """
    host = instance.host
    taken = {"database": compose_oracle.lines_of_dump(host.sh("pg_dump -d authentik", user="postgres"))}
    taken.update({name: tree(host.sh, path) for name, path in folders.items()})
    if instance.layout.redis:
        taken["redis"] = compose_oracle.redis_keys(lambda commands: host.sh("redis-cli", stdin=commands.encode()))
    return taken


def in_project(project: Project, components: list[str]) -> dict[str, list[str]]:
    """What a project holds; its ``media`` may lie in ``data``."""
    taken = {"database": compose_oracle.lines_of_dump(project.inside(project.database, "pg_dump", *project.login))}
    for name in components:
        inside = "data/media" if name == "media" and "data" in project.layout.directories else name
        taken[name] = tree(project.look, "/look/" + inside)
    if "redis" in project.layout.services:
        taken["redis"] = compose_oracle.redis_keys(project.redis)
    return taken


def tree(run: Callable[[str], str], folder: str) -> list[str]:
    """Everything below a folder. Whoever owns the folder itself is called ``own``: it is another user on each side."""
    lines = run(FILES.replace("$0", folder)).split("\n")
    (own,) = {found[2] for line in lines if " . -> " in line for found in [OWNER.match(line)] if found}
    return [OWNER.sub(lambda found: found[1] + ("own" if found[2] == own else found[2]), line) for line in lines]
