# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A backup set of one Redis server, and the steps of restoring it, as the module calls them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _files
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import RedisSettings
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis import _restore, _snapshot
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._work_folder import WorkFolder
from tests.support.redis import RedisServer
from tests.support.redis_module import RESTORE_ID, write_set


class Restore:
    """A set taken from a server, and the steps of restoring it, as the module calls them."""

    def __init__(self, source: RedisServer, folder: Path, further_dbs: tuple[int, ...] = ()) -> None:
        out = io.BytesIO()
        taken = _snapshot.take_snapshot(settings_of(source), out, "replication", 30)
        self.set = write_set(folder / "set", out.getvalue(), taken.summary.fingerprint())
        self.folder = WorkFolder(str(folder / "work"), RESTORE_ID)
        self.databases: list[int] | None = None
        self.own: dict[str, Any] = {"further_dbs": further_dbs}

    @property
    def manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = json.loads((self.set / "manifest.json").read_text())
        return manifest

    def request(self, server: RedisServer, **more: Any) -> _restore.Request:
        return _restore.Request(settings_of(server, **{**self.own, **more}), self.databases, 30)

    def source(self) -> _files.DirectorySource:
        return _files.DirectorySource(str(self.set), self.manifest["artifacts"])

    def check(self, server: RedisServer, **more: Any) -> dict[str, Any]:
        work_dir = str(self.set.parent / "work")
        return _restore.check(self.request(server, **more), self.source(), self.manifest, work_dir)

    def prepare(self, server: RedisServer, **more: Any) -> dict[str, Any]:
        return _restore.prepare(self.request(server, **more), self.source(), self.manifest, self.folder)

    def swap(self, server: RedisServer, **more: Any) -> dict[str, Any]:
        return _restore.swap(self.request(server, **more), self.folder)

    def undo(self, server: RedisServer, **more: Any) -> dict[str, Any]:
        return _restore.undo(self.request(server, **more), self.folder)


def settings_of(server: RedisServer, **more: Any) -> RedisSettings:
    return RedisSettings(**{"host": "127.0.0.1", "port": server.port, "password": server.password or None, **more})


def disaster(server: RedisServer) -> None:
    """Lose everything, and let something else grow in its place."""
    server.send("FLUSHALL")
    server.send_all([("SET", "grown %d" % n, n) for n in range(20)])
    server.send("LPUSH", "int8", "of another type")
    server.send("SET", "foreign", "in a database that the set does not hold", db=4)
    if server.version >= (7, 0):
        server.send("FUNCTION", "FLUSH")
