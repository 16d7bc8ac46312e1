# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A saved directory becomes the objects of a bucket on a real S3 server. What lies there is told by boto3 itself."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import pyrage
import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _manifest, _static, _tar_codec
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    IntegrityError,
    StateError,
    ToolError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import DirectorySink
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _bucket_restore, _objects_of_files
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_objects import Saved
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_restore import BucketRestore
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._identity import IdentitySource
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._objects_of_files import of_files
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._opened import plain_source
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sets import BackupSet
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import Store
from tests.support.bucket import Content, Files
from tests.support.s3_server import S3Server

ID, NEXT = "20261124T040000Z-1b2c", "20261124T050000Z-1b2c"
SVG, JPEG, CSV = ({"ContentType": kind} for kind in ("image/svg+xml", "image/jpeg", "text/csv"))


def save(
    store: Store, tree: Path, work: Path, compression: str = "gzip", recipients: tuple[str, ...] = ()
) -> BackupSet:
    """Make a set of a directory, whose name is that of its component."""
    now = datetime.datetime.now(datetime.UTC)
    record = _static.save(_static.Target(tree.name, str(tree), "test", True), DirectorySink(str(work)), compression)
    (artifact,) = record["artifacts"]
    partial = store.open(now, os.urandom(2), os.getpid(), recipients)
    with partial.sink().artifact(artifact["path"]) as out:
        out.write((work / artifact["path"]).read_bytes())
    fixed = {"component": tree.name, "linked_from": None, "tool": None, "seconds": 0, "bytes_per_second": 0}
    entry = {**out.entry(), **fixed, "compression": compression}
    record["artifacts"] = [{"path": entry["path"]}]
    about = {"name": "sso", "deployment": "host"}
    made_by = {"collection": "1.0.0", "ansible_core": "2.19.0"}
    manifest = _manifest.build(partial.set_id, about, partial.started, now, made_by, [entry], {tree.name: record})
    return store.publish(partial, manifest, now)


def read(backup_set: BackupSet, component: str, identity: str | None = None) -> Saved:
    source = plain_source(backup_set, IdentitySource(identity))
    return of_files(_manifest.plain_view(backup_set.manifest), source, component)


def fill(tree: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tree


def restore_of(files: Files, restore_id: str = ID) -> BucketRestore:
    return BucketRestore(files.bucket, restore_id, lambda: None)


def live(files: Files) -> Content:
    return {key: one for key, one in files.content().items() if not key.startswith("authentik-")}


def test_files_become_objects_and_what_was_there_comes_back(
    s3_server: S3Server, s3_bucket: str, store: Store, tmp_path: Path
) -> None:
    large = os.urandom(_bucket_restore._SMALL_BYTES + 17)
    icons = "media/public/application-icons/"
    data = fill(
        tmp_path / "data",
        {
            icons + "same.svg": b"<svg>same</svg>",
            icons + "größe ✓.svg": b"<svg>1</svg>",
            icons + "photo.webp": b"webp",
            icons + "as text.svg": b"<svg>2</svg>",
            icons + "unknown": b"",
            icons + "new\nline.svg": b"x",
            icons + os.fsdecode(b"latin1-\xe9.svg"): b"x",
            "media/t_other/flow-backgrounds/b.jpg": large,
            "reports/public/r.csv": b"a,b",
            "notes.txt": b"of the operator",
        },
    )
    (data / icons / "empty folder").mkdir()
    os.link(data / "media/t_other/flow-backgrounds/b.jpg", data / "media/public/hard.jpg")
    (data / icons / "link.svg").symlink_to("../application-icons/second.svg")
    (data / icons / "second.svg").symlink_to("größe ✓.svg")
    (data / "elsewhere").symlink_to("/etc")
    files = Files(s3_server, s3_bucket)
    files.put(icons + "same.svg", b"<svg>same</svg>", **SVG)
    files.put(icons + "as text.svg", b"<svg>2</svg>", ContentType="text/plain")
    files.put(icons + "later.svg", b"later", **SVG)
    files.put("backups/none of the instance", b"x")
    now = files.content()
    backup_set = save(store, data, tmp_path / "work", _tar_codec.choose("auto"))

    restore = restore_of(files)
    changes = restore.prepare(read(backup_set, "data"))
    said = "\n".join(changes.lines(files.bucket))
    assert "the files of data become objects" in said
    assert "neither media nor reports, 2 objects: elsewhere, notes.txt" in said
    assert "no object can be named so, 2 objects: " in said
    assert "latin1-%E9.svg" in said
    assert "new%0Aline.svg" in said
    assert "8 objects new, 1 replaced, 1 deleted" in said
    assert icons + "same.svg" not in [entry["key"] for entry in changes.put]
    assert live(files) == now
    assert restore.swap()
    then = {
        icons + "same.svg": (b"<svg>same</svg>", SVG),
        icons + "größe ✓.svg": (b"<svg>1</svg>", SVG),
        icons + "link.svg": (b"<svg>1</svg>", SVG),
        icons + "second.svg": (b"<svg>1</svg>", SVG),
        icons + "photo.webp": (b"webp", {"ContentType": "image/webp"}),
        icons + "as text.svg": (b"<svg>2</svg>", SVG),
        icons + "unknown": (b"", {"ContentType": "application/octet-stream"}),
        "media/t_other/flow-backgrounds/b.jpg": (large, JPEG),
        "media/public/hard.jpg": (large, JPEG),
        "reports/public/r.csv": (b"a,b", CSV),
        "backups/none of the instance": now["backups/none of the instance"],
    }
    assert live(files) == then

    again = restore_of(files, NEXT)
    changes = again.prepare(read(backup_set, "data"))
    assert (changes.put, changes.removed) == ([], [])
    assert not again.swap()
    restore.undo()
    assert files.content() == now


@pytest.mark.parametrize(
    ("names", "folders", "prefix", "said"),
    [
        # Before 2024.2, without tenants.
        (["application-icons/a.svg"], (), "public/", "become objects of public/"),
        (["application-icons/a.svg"], ("media", "reports"), "media/public/", "reports/ in the bucket stays"),
        (["public/a.svg", "t_x/b.svg", "robots.txt"], (), "", "no place in its bucket for 1 object: robots.txt"),
        (["public/a.svg", "t_x/b.svg"], ("media",), "media/", "become objects"),
    ],
)
def test_media_of_before_2025_12_gets_the_names_of_the_instance(
    s3_server: S3Server,
    s3_bucket: str,
    store: Store,
    tmp_path: Path,
    names: list[str],
    folders: tuple[str, ...],
    prefix: str,
    said: str,
) -> None:
    media = fill(tmp_path / "media", {name: name.encode() for name in names})
    identity = pyrage.x25519.Identity.generate()
    (tmp_path / "identity").write_text(str(identity))
    backup_set = save(store, media, tmp_path / "work", recipients=(str(identity.to_public()),))
    files = Files(s3_server, s3_bucket, folders)
    files.put("reports/public/r.csv", b"r", **CSV)
    files.put(prefix + "public/gone" if not prefix.endswith("public/") else prefix + "gone", b"g", **SVG)
    restore = restore_of(files)
    changes = restore.prepare(read(backup_set, "media", str(tmp_path / "identity")))
    assert said in "\n".join(changes.lines(files.bucket))
    assert restore.swap()
    expected = {prefix + name: (name.encode(), SVG) for name in names if name != "robots.txt"}
    assert live(files) == {**expected, "reports/public/r.csv": (b"r", CSV)}


def altered(backup_set: BackupSet, at: int) -> None:
    path = Path(backup_set.path) / backup_set.manifest["artifacts"][0]["path"]
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


@pytest.fixture
def backup_set(store: Store, tmp_path: Path) -> BackupSet:
    tree = fill(tmp_path / "data", {"media/public/a.svg": b"<svg/>" * 99, "media/public/b.svg": os.urandom(2000)})
    return save(store, tree, tmp_path / "work")


@pytest.mark.parametrize("at", [0, 300, -5])
def test_an_archive_that_was_altered_is_refused_before_anything_is_written(backup_set: BackupSet, at: int) -> None:
    altered(backup_set, at)
    with pytest.raises(IntegrityError):
        read(backup_set, "data")


def test_an_archive_of_other_files_is_refused(backup_set: BackupSet) -> None:
    backup_set.manifest["components"]["data"]["fingerprint"]["digest"] = "0" * 64
    with pytest.raises(IntegrityError, match="not equal to the backup's fingerprint"):
        read(backup_set, "data")


def test_an_archive_that_is_altered_after_it_was_proved_never_goes_live(
    s3_server: S3Server, s3_bucket: str, backup_set: BackupSet
) -> None:
    files = Files(s3_server, s3_bucket)
    files.put("media/public/a.svg", b"live", **SVG)
    now = files.content()
    restore, saved = restore_of(files), read(backup_set, "data")
    altered(backup_set, -300)
    with pytest.raises(IntegrityError):
        restore.prepare(saved)
    assert live(files) == now
    with pytest.raises(StateError, match="Nothing is prepared"):
        restore.swap()
    restore.undo()
    assert files.content() == now


@pytest.mark.parametrize("target", ["../public", "/etc/passwd", "nowhere", "link.svg", "../../../x"])
def test_a_link_that_leads_to_no_file_of_the_tree_is_refused(store: Store, tmp_path: Path, target: str) -> None:
    data = fill(tmp_path / "data", {"media/public/a.svg": b"a"})
    (data / "media/public/link.svg").symlink_to(target)
    with pytest.raises(StateError, match=r"media/public/link\.svg of data is a symbolic link to"):
        read(save(store, data, tmp_path / "work"), "data")


def test_where_the_directory_holds_none_the_bucket_keeps_its_files(
    s3_server: S3Server, s3_bucket: str, store: Store, tmp_path: Path
) -> None:
    """As an instance's has it that keeps them in S3, or in a directory of their own."""
    files = Files(s3_server, s3_bucket)
    files.put("media/public/a.svg", b"live", **SVG)
    data = fill(tmp_path / "data", {"notes.txt": b"x"})
    (data / "media").symlink_to("/media")
    changes = restore_of(files).changes(read(save(store, data, tmp_path / "work"), "data"))
    assert (changes.put, changes.removed) == ([], [])
    said = "\n".join(changes.said)
    assert "2 objects: media, notes.txt" in said
    assert "media/ in the bucket stays as it is" in said


def test_a_directory_that_the_set_does_not_hold_is_said(backup_set: BackupSet) -> None:
    with pytest.raises(InputError, match="holds no directory media"):
        read(backup_set, "media")


def test_without_zstd_nothing_is_said_to_be_damaged(backup_set: BackupSet, monkeypatch: pytest.MonkeyPatch) -> None:
    backup_set.manifest["artifacts"][0]["compression"] = "zstd"
    monkeypatch.setattr(_objects_of_files, "find_program", lambda _name: None)
    with pytest.raises(ToolError, match="zstd is not installed on the controller"):
        read(backup_set, "data")
