# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the instance of a compose project holds, read with the programs of its own containers."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.system.compose_project import Project

PROPERTIES = """
SELECT datname, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype, datconnlimit, datacl
FROM pg_database WHERE datname = current_database();
SELECT schemaname, matviewname, matviewowner, ispopulated FROM pg_matviews ORDER BY 1, 2;
SELECT relname, pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1;
"""
# Metadata and content of everything below a folder; a folder's own modification time included.
FILES = r"""
for component in /look/*; do
    cd "$component"
    find . -printf "%y %m %U:%G %T@ %n ${component##*/} %p -> %l\n" | LC_ALL=C sort
    find . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum
done
"""
# Type -> a command that gives all of a key's values.
READ = {
    "string": "GET %s",
    "list": "LRANGE %s 0 -1",
    "set": "SORT %s ALPHA",
    "zset": "ZRANGE %s 0 -1 WITHSCORES",
    "hash": "HGETALL %s",
}


def picture(project: Project) -> dict[str, list[str]]:
    """Everything of the instance, by what it is about."""
    taken = {
        "database": lines_of_dump(project.inside(project.database, "pg_dump", *project.login)),
        "properties": project.psql(PROPERTIES).splitlines(),
        "directories": project.look(FILES).split("\n"),
        "configuration": configuration(project),
        "answers": [project.signature().decode(), repr(project.logo())],
        "states": sorted("%s %s" % item for item in project.states().items()),
        "images": _images(project),
    }
    if "redis" in project.layout.services:
        taken["redis"] = redis_keys(project.redis)
    return taken


def differences(
    before: dict[str, list[str]], after: dict[str, list[str]], leave_out: tuple[str, ...] = ()
) -> dict[str, list[str]]:
    """What is not equal: the lines of each part that only one side has (``-`` lost, ``+`` new), at most 20."""
    found = {}
    for part in before:
        lost, new = set(before[part]) - set(after[part]), set(after[part]) - set(before[part])
        lines = ["- " + line for line in sorted(lost)] + ["+ " + line for line in sorted(new)]
        if (lines or len(before[part]) != len(after[part])) and part not in leave_out:
            found[part] = [line[:300] for line in lines[:20]] or [
                "%d lines, now %d" % (len(before[part]), len(after[part]))
            ]
    return found


def configuration(project: Project) -> list[str]:
    """The project's own files, outside its directories: mode, owner, name, content."""
    data = {str(project.folder / source) for source in project.layout.binds.values()}
    lines = []
    for folder, folders, names in os.walk(project.folder):
        # What a restore left in place of a directory lies beside it.
        folders[:] = [name for name in folders if os.path.join(folder, name).split(".before-")[0] not in data]
        for name in names:
            path = project.folder / os.path.relpath(os.path.join(folder, name), project.folder)
            status = path.lstat()
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            where = path.relative_to(project.folder)
            lines.append("%o %d:%d %s %s" % (status.st_mode, status.st_uid, status.st_gid, where, digest))
    return sorted(lines)


def databases(project: Project) -> list[str]:
    """The names of all databases of the server."""
    return project.admin_psql("SELECT datname FROM pg_database ORDER BY 1").split()


def lines_of_dump(text: str) -> list[str]:
    """The lines of a plain dump that say something about the database."""
    # Rows have no order; pg_dump's own comments and its one-time \restrict keys say nothing about the database.
    return sorted(line for line in text.split("\n") if not line.startswith(("--", "\\restrict", "\\unrestrict")))


def redis_keys(send: Callable[[str], str]) -> list[str]:
    """All keys of Redis with their values.

    :param send: sends commands, one a line, and returns the answers.
    """
    lines = []
    for key in sorted(send("KEYS *").split()):
        kind, expiry = send("TYPE %s\nTTL %s" % (key, key)).split()
        values: list[Any] = send(READ[kind] % key).split("\n")
        if kind == "hash":
            values = sorted(zip(values[::2], values[1::2], strict=False))
        lines.append("%s %s %s %r" % (key, kind, "never" if expiry == "-1" else "later", values))
    return lines


def _images(project: Project) -> list[str]:
    shown = "{{.Config.Image}} {{.Image}}"
    return [
        "%s %s" % (role, project.compose.engine.run("inspect", "--format", shown, project.container(role)).strip())
        for role in sorted(project.layout.services)
    ]
