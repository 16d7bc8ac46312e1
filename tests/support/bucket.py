# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A bucket with an instance's files, saved into sets in this process. What lies in it is told by boto3 itself."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _manifest
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_read import Bucket
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_save import Saving
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._progress import Progress
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_client import Location, make_client
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sets import BackupSet
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import Store
from tests.support.s3_server import S3Server

KEPT = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType", "Metadata")
FOLDERS = ("media", "reports")
INDEX_KEY = "b" * 64
Content = dict[str, tuple[bytes, dict[str, Any]]]


class Files:
    """The files of an instance in a bucket of their own."""

    def __init__(
        self, server: S3Server, name: str, folders: tuple[str, ...] = FOLDERS, default_schema: str = "public"
    ) -> None:
        self.raw = server.judge
        self.name = name
        self.bucket = Bucket(make_client(server.options()), Location(name), folders, default_schema)
        self.asked: list[str] = []
        events = self.bucket.client.raw.meta.events
        events.register("before-call.s3.GetObject", lambda params, **_more: self.asked.append(params["url_path"]))

    def put(self, key: str, data: bytes, **about: Any) -> None:
        """Write an object as authentik would."""
        self.raw.put_object(Bucket=self.name, Key=key, Body=data, **about)

    def delete(self, *keys: str) -> None:
        """Delete objects."""
        for key in keys:
            self.raw.delete_object(Bucket=self.name, Key=key)

    def content(self) -> Content:
        """Return everything in the bucket: content and metadata by key."""
        found = {}
        for page in self.raw.get_paginator("list_objects_v2").paginate(Bucket=self.name):
            for one in page.get("Contents", []):
                answer = self.raw.get_object(Bucket=self.name, Key=one["Key"])
                found[one["Key"]] = (answer["Body"].read(), {name: answer[name] for name in KEPT if answer.get(name)})
        return found

    def save(self, store: Store, recipients: Sequence[str] = (), index_key: str = INDEX_KEY) -> dict[str, Any]:
        """Make a set of the bucket; the result has it as C(set)."""
        now = datetime.datetime.now(datetime.UTC)
        partial = store.open(now, os.urandom(2), os.getpid(), recipients)
        newest = store.latest_backup()
        earlier = [newest] if newest and newest.recipients == partial.recipients else []
        del self.asked[:]
        saving = Saving(self.bucket, partial, index_key, Progress(lambda _line: None, "host"), lambda: None)
        try:
            result = saving.save(earlier)
        except BaseException:
            partial.discard()
            raise
        saved = partial.records()["s3"]
        made_by = {"collection": "1.0.0", "ansible_core": "2.19.0"}
        about = {"name": "sso", "deployment": "host"}
        manifest = _manifest.build(
            partial.set_id, about, partial.started, now, made_by, saved["artifacts"], {"s3": saved["record"]}
        )
        return dict(result, set=store.publish(partial, manifest, now))


def content_of(backup_set: BackupSet) -> Content:
    """Return what a plain set holds of a bucket."""
    return content_of_folder(Path(backup_set.path))


def content_of_folder(folder: Path) -> Content:
    """Return the same of a set's folder, read with json and tarfile as one would by hand."""
    found = {}
    for one in json.loads((folder / "s3/index.json").read_text())["objects"]:
        with tarfile.open(folder / one["pack"]) as pack:
            member = pack.extractfile(one["key"])
            assert member is not None
            data = member.read()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (one["size"], one["sha256"])
        found[one["key"]] = (data, one["about"])
    return found
