# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets in a store, made by the code that the action plugins use."""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _manifest
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._partial import PartialSet
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sets import BackupSet
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import Store, open_store

NOW = datetime.datetime(2026, 11, 22, 3, 15, tzinfo=datetime.UTC)
BLOBS = {"postgresql/authentik.dump": b"d" * 300000, "static/media.tar.zst": b"m" * 5000}


def entry(path: str, out: Any, component: str) -> dict[str, Any]:
    return {
        "path": path,
        "component": component,
        "size": out.size,
        "sha256": out.sha256,
        "plain_size": out.size,
        "plain_sha256": out.sha256,
        "compression": "none",
        "encryption": "none",
        "linked_from": None,
        "tool": None,
        "seconds": 1,
        "bytes_per_second": 1,
    }


def fill(partial: PartialSet, blobs: dict[str, bytes]) -> list[dict[str, Any]]:
    artifacts = []
    for path, data in blobs.items():
        component = "postgresql" if path.startswith("postgresql") else "media"
        with partial.sink().artifact(path) as out:
            out.write(data)
        artifacts.append(entry(path, out, component))
        partial.save_record({"component": component, "artifacts": [{"path": path}]}, artifacts[-1:])
    return artifacts


def manifest_of(partial: PartialSet, artifacts: list[dict[str, Any]], restore_id: str = "") -> dict[str, Any]:
    return _manifest.build(
        partial.set_id,
        {"name": "sso", "deployment": "host"},
        partial.started,
        NOW,
        {"collection": "1.0.0", "ansible_core": "2.19.0"},
        artifacts,
        {name: saved["record"] for name, saved in partial.records().items()},
        restore_id,
    )


def publish(
    store: Store, blobs: dict[str, bytes] | None = None, now: datetime.datetime = NOW, restore_id: str = ""
) -> BackupSet:
    partial = store.open(now, os.urandom(2), os.getpid())
    artifacts = fill(partial, blobs or BLOBS)
    return store.publish(partial, manifest_of(partial, artifacts, restore_id), now)


@contextlib.contextmanager
def requests(store: Store) -> Iterator[list[str]]:
    """Collect the operations of all requests that a store in a bucket makes."""
    sent: list[str] = []

    def note(request: Any, **_more: Any) -> None:
        sent.append("%s %s" % (request.method, request.url.partition("?")[0].rpartition("/")[2]))

    events = store.backend.look().sets.client.raw.meta.events  # type: ignore[attr-defined]
    events.register("before-send.s3", note)
    try:
        yield sent
    finally:
        events.unregister("before-send.s3", note)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"), "sso")
