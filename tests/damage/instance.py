# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The instance that a damaged set must not harm, looked at without any code of the collection."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psycopg2

from tests.support.site import Site


class Watch:
    """Tells cheaply whether anything live was touched: after every damage, so within milliseconds."""

    def __init__(self, site: Site) -> None:
        self._site = site
        server = site.instance.postgres
        self._session = psycopg2.connect(
            host="127.0.0.1", port=server.port, user="postgres", password=server.password, dbname="authentik"
        )
        self._session.autocommit = True
        self._before = self.look()

    def close(self) -> None:
        """End the session with the server."""
        self._session.close()

    def changes(self) -> list[str]:
        """Return what is no longer as it was."""
        return sorted("%s: %s" % pair for pair in self.look() ^ self._before)

    def look(self) -> set[tuple[str, str]]:
        """Return databases, how often rows were written, Redis' digest of its content, the files in the folders."""
        with self._session.cursor() as cursor:
            cursor.execute("SELECT datname, datdba::text FROM pg_database")
            seen = {("database", " ".join(row)) for row in cursor.fetchall()}
            cursor.execute("SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_user_tables")
            seen.add(("rows written", str(cursor.fetchall())))
        seen.add(("redis", str(self._site.instance.redis.send("DEBUG", "DIGEST"))))
        for folder, _folders, names in os.walk(self._site.instance.root):
            for name in names:
                status = os.lstat(os.path.join(folder, name))
                seen.add((os.path.join(folder, name), "%d %d" % (status.st_size, status.st_mtime_ns)))
            seen.add((folder, str(os.lstat(folder).st_mtime_ns)))
        return seen


def copy_set(made: Path, store: Path) -> Path:
    """Copy a published set into another store, and return its folder there."""
    target = store / made.parent.name / made.name
    shutil.copytree(made, target)
    for folder, _folders, _names in os.walk(target):
        os.chmod(folder, 0o700)
    return target
