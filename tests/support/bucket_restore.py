# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A bucket of an instance to restore into, and what a restore of it needs."""

from __future__ import annotations

import os
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _bucket_restore
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_objects import Saved, of_packs
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_restore import BucketRestore
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sets import BackupSet
from tests.support.bucket import Content, Files
from tests.support.s3_server import S3Server

ID = "20261124T040000Z-1b2c"
ICON = {"ContentType": "image/svg+xml", "CacheControl": "max-age=60", "Metadata": {"owner": "flow"}}


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.fixture
def files(s3_server: S3Server, s3_bucket: str) -> Files:
    made = Files(s3_server, s3_bucket)
    made.put("media/public/same", b"same", **ICON)
    made.put("media/public/touched ü", b"touched", **ICON)
    made.put("media/public/changed", b"before", **ICON)
    made.put("media/public/deleted", os.urandom(3000), ContentType="image/png")
    made.put("other/of somebody else", b"x")
    return made


def leave(files: Files) -> Content:
    """Give the bucket other content, and return it."""
    files.put("media/public/changed", b"after!", ContentType="text/plain")
    files.put("media/public/touched ü", b"touched", ContentType="text/plain")
    files.delete("media/public/deleted")
    files.put("media/public/new", b"new", **ICON)
    return files.content()


def new_bucket(server: S3Server) -> str:
    name = "recovery-%s" % os.urandom(6).hex()
    server.judge.create_bucket(Bucket=name)
    return name


def opened(backup_set: BackupSet) -> Saved:
    source = backup_set.folder.source(backup_set.manifest["artifacts"])
    return of_packs(backup_set.manifest["components"]["s3"], source)


def restore_of(files: Files) -> BucketRestore:
    return BucketRestore(files.bucket, ID, lambda: None)


def live(content: Content) -> Content:
    return {key: one for key, one in content.items() if not key.startswith("authentik-")}


def cut_off(patch: pytest.MonkeyPatch, at: str) -> None:
    """End the swap while it copies what it replaces, at its journal, or while it puts the new objects in place."""
    copy, write = _bucket_restore.copy, BucketRestore._write_journal
    seen: list[str] = []

    def copying(client: Any, source: Any, target: Any) -> Any:
        replaces = not target[1].startswith("authentik-")
        if replaces == (at == "put"):
            if seen:
                raise Killed
            seen.append(target[1])
        return copy(client, source, target)

    def writing(self: BucketRestore, root: str, journal: Any) -> None:
        if root == self.before and at == "journal":
            raise Killed
        write(self, root, journal)

    if at != "journal":
        patch.setattr(_bucket_restore, "copy", copying)
    patch.setattr(BucketRestore, "_write_journal", writing)
