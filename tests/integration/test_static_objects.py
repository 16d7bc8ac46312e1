# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The objects of a bucket restored as the directory of an instance that has its files on a disk.

The sets are made here, with ``json`` and ``tarfile``; what is on the disk is told by ``os.walk`` alone.
"""

from __future__ import annotations

import calendar
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _static, _static_restore
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import Directory, Instance
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    IntegrityError,
    RecoveryError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import DirectorySink, DirectorySource
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_places import Here
from ansible_collections.authentik_ops.recovery.plugins.modules.authentik_static_restore import _here as here_of
from tests.integration.file_trees import snapshot

ID = "20261123T090000Z-11aa"
PACKS = ("s3/objects-20261101T000000Z-0001.tar", "s3/objects-20261102T000000Z-0002.tar")
MODERN = {
    "media/public/application-icons/app ü 1.svg": b"<svg/>",
    "media/public/empty": b"",
    "media/t_two/flow-backgrounds/sea.jpg": os.urandom(3 * 1024**2 + 7),
    "reports/public/users.csv": b"name\nakadmin\n",
}
OLD = {"public/application-icons/a.svg": b"<svg/>", "t_two/b.svg": b"b"}
OWNER = (os.getuid(), os.getgid()) if os.geteuid() else (1234, 1235)


class Bucket:
    """A set of a bucket, and a host with its files on a disk.

    :param folders: what of the bucket is the instance's; none before authentik 2025.12.
    """

    def __init__(self, base: Path, content: dict[str, bytes], folders: list[str]) -> None:
        self.set, self.srv = base / "set", base / "srv"
        (self.set / "s3").mkdir(parents=True)
        self.srv.mkdir()
        self.here = Here({})
        objects, lines = [], []
        packs = [tarfile.open(self.set / path, "w") for path in PACKS]  # noqa: SIM115
        for number, (key, data) in enumerate(sorted(content.items())):
            for pack in packs:
                # The first pack also has what the second one has anew.
                member = tarfile.TarInfo(key)
                of_now = pack is packs[number % 2]
                stored = data if of_now else b"of another day"
                member.size = len(stored)
                if of_now or pack is packs[0]:
                    pack.addfile(member, io.BytesIO(stored))
            sha256 = hashlib.sha256(data).hexdigest()
            lines.append("%s %s\0" % (sha256, key))
            modified = "2026-11-0%dT10:00:00Z" % (number + 1)
            facts = {"key": key, "size": len(data), "sha256": sha256, "modified": modified, "pack": PACKS[number % 2]}
            objects.append({**facts, "etag": "e", "version_id": "", "about": {"ContentType": "a/b"}, "member": 0})
        for pack in packs:
            pack.close()
        self.index: dict[str, Any] = {
            "format": 1,
            "bucket": "b",
            "endpoint": "",
            "folders": folders,
            "objects": objects,
        }
        self.fingerprint = {
            "files": len(content),
            "bytes": sum(map(len, content.values())),
            "digest": hashlib.sha256("".join(lines).encode()).hexdigest(),
            "formula": "authentik-recovery-objects-1",
        }
        self.more: dict[str, Any] = {}
        self.more_artifacts: list[dict[str, Any]] = []
        self.write_index()

    def write_index(self) -> None:
        (self.set / "s3/index.json").write_text(json.dumps(self.index))

    @property
    def manifest(self) -> dict[str, Any]:
        artifacts = []
        for path in ("s3/index.json", *PACKS):
            data = (self.set / path).read_bytes()
            facts = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            plain = {"plain_size": facts["size"], "plain_sha256": facts["sha256"]}
            artifacts.append({"path": path, "component": "s3", "compression": "none", **facts, **plain})
        record = {
            "component": "s3",
            "bucket": "b",
            "folders": self.index["folders"],
            "fingerprint": self.fingerprint,
            "artifacts": [{"path": one["path"]} for one in artifacts],
        }
        return {"components": {"s3": record, **self.more}, "artifacts": artifacts + self.more_artifacts}

    def add_directory(self, component: str, path: Path) -> None:
        target = _static.Target(component, str(path), "test", True)
        self.more[component] = record = _static.save(target, DirectorySink(str(self.set)), "gzip")
        self.more_artifacts += [dict(artifact, component=component) for artifact in record["artifacts"]]

    def step(self, step: str, components: str = "s3", **paths: str) -> dict[str, Any]:
        manifest = self.manifest
        records, _said = _static_restore.choose(manifest, components.split())
        work = _static_restore.make_work(records, paths, self.here, ID)
        return _static_restore.restore(
            step, work, lambda: DirectorySource(str(self.set), manifest["artifacts"]), pretend=False
        )

    def swapped(self, **paths: str) -> str:
        plan = "\n".join(self.step("check", **paths)["plan"])
        self.step("prepare", **paths)
        assert self.step("swap", **paths)["changed"] is True
        assert self.step("swap", **paths)["changed"] is False
        return plan


def files(root: Path) -> dict[str, bytes]:
    """Return the content of all that is below a folder, which holds regular files and folders alone."""
    found = {}
    for folder, folders, names in os.walk(root):
        for name in folders + names:
            path = Path(folder, name)
            info = path.lstat()
            assert (info.st_uid, info.st_gid) == OWNER, path
            assert oct(info.st_mode) == (oct(0o40755) if name in folders else oct(0o100644)), path
        found.update({str(Path(folder, name).relative_to(root)): Path(folder, name).read_bytes() for name in names})
    return found


def own(path: Path, mode: int = 0o750) -> Path:
    """Make what is there authentik's."""
    path.chmod(mode)
    for folder, folders, names in os.walk(path):
        for name in (".", *folders, *names):
            os.chown(os.path.join(folder, name), *OWNER)
    return path


def state(bucket: Bucket) -> tuple[list[str], object]:
    """Return all that could have been changed."""
    return sorted(os.listdir(bucket.srv)), snapshot(bucket.srv / "data")


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    """Both usages, for an instance with a directory ``data`` that holds something else now."""
    made = Bucket(tmp_path, MODERN, ["media", "reports"])
    (made.srv / "data/media/public").mkdir(parents=True)
    (made.srv / "data/media/public/now.svg").write_text("now")
    made.here = Here({"data": str(own(made.srv / "data"))}, modern=True)
    return made


def test_objects_become_files_of_the_present_owner_and_undo_takes_them_away(bucket: Bucket) -> None:
    before = state(bucket)
    live = bucket.srv / "data"
    plan = bucket.swapped()
    assert "data: 4 files" in plan
    assert "the backup was made of s3://b" in plan
    assert "they are given to %d:%d" % OWNER in plan
    assert files(live) == MODERN
    assert (live.stat().st_uid, live.stat().st_gid, live.stat().st_mode & 0o7777) == (*OWNER, 0o750)
    times = [int(path.stat().st_mtime) for key in sorted(MODERN) for path in [live / key]]
    assert times == [calendar.timegm((2026, 11, day, 10, 0, 0)) for day in (1, 2, 3, 4)]
    assert "is kept as" not in "\n".join(bucket.step("undo")["plan"])
    assert state(bucket) == before


@pytest.mark.parametrize("change", ["content", "added", "removed", "link"])
def test_what_was_changed_since_is_kept(bucket: Bucket, change: str) -> None:
    bucket.swapped()
    path = bucket.srv / "data/media/public/empty"
    if change == "content":
        path.write_text("x")
    elif change == "added":
        path.with_name("later.svg").write_text("later")
    elif change == "link":
        path.with_name("link").symlink_to("empty")
    else:
        path.unlink()
    after = snapshot(bucket.srv / "data")
    assert "it was changed since it was restored; it is kept as" in "\n".join(bucket.step("undo")["plan"])
    assert snapshot(bucket.srv / ("data.undone-" + ID)) == after
    assert [name.name for name in (bucket.srv / "data/media/public").iterdir()] == ["now.svg"]


@pytest.mark.parametrize("usage", ["media", "reports"])
def test_of_one_usage_in_the_bucket_only_its_directory_is_replaced(tmp_path: Path, usage: str) -> None:
    content = {key: data for key, data in MODERN.items() if key.startswith(usage)}
    bucket = Bucket(tmp_path, content, [usage])
    for name in MODERN:
        (bucket.srv / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (bucket.srv / "data" / name).write_text("now")
        (bucket.srv / "data" / name).chmod(0o644)
    bucket.here = Here({"data": str(own(bucket.srv / "data"))}, modern=True)
    bucket.swapped()
    kept = "data/%s.before-%s" % (usage, ID)
    found = {name: data for name, data in files(bucket.srv / "data").items() if not ("data/" + name).startswith(kept)}
    assert found == {key: content.get(key, b"now") for key in MODERN}
    assert "is kept as" not in "\n".join(bucket.step("undo")["plan"])
    assert set(files(bucket.srv / "data").values()) == {b"now"}


@pytest.mark.parametrize("modern", [True, False])
def test_names_of_before_2025_12_go_where_the_instance_has_its_media(tmp_path: Path, modern: bool) -> None:
    bucket = Bucket(tmp_path, OLD, [])
    live = bucket.srv / ("data" if modern else "media")
    live.mkdir()
    bucket.here = Here({live.name: str(own(live))}, modern=modern)
    bucket.swapped()
    assert files(live / "media" if modern else live) == OLD


def test_names_of_now_go_to_the_media_of_an_older_instance(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path, MODERN, ["media", "reports"])
    (bucket.srv / "media").mkdir()
    bucket.here = Here({"media": str(own(bucket.srv / "media"))}, modern=False)
    assert "no place for it: reports" in bucket.swapped()
    assert files(bucket.srv / "media") == {key[6:]: data for key, data in MODERN.items() if key.startswith("media/")}


def test_media_that_an_instance_has_apart_from_its_data_go_there(bucket: Bucket) -> None:
    (bucket.srv / "data/notes").write_text("mine")
    (bucket.srv / "uploads").mkdir()
    own(bucket.srv / "uploads")
    assert "data holds notes, which is no file of S3" in "\n".join(bucket.step("check")["plan"])
    # What lies below /data in the container need not lie in that directory on the host.
    bucket.here = bucket.here._replace(directories={**bucket.here.directories, "media": str(bucket.srv / "uploads")})
    assert "notes" not in bucket.swapped()
    assert files(bucket.srv / "uploads") == {key[6:]: MODERN[key] for key in MODERN if key.startswith("media/")}
    assert files(bucket.srv / "data/reports") == {"public/users.csv": MODERN["reports/public/users.csv"]}
    assert (bucket.srv / "data/media/public/now.svg").read_text() == "now"
    assert (bucket.srv / "data/notes").read_text() == "mine"
    bucket.step("undo")
    assert sorted(os.listdir(bucket.srv / "uploads")) == []
    assert sorted(name for name in os.listdir(bucket.srv / "data") if "undone" not in name) == ["media", "notes"]


@pytest.mark.parametrize(
    ("content", "folders", "known", "closed"),
    [
        ("media/", ["media"], {"data": "data"}, {"data/media": 0o700}),
        ("reports/", ["reports"], {"data": "data"}, {"data/reports": 0o700}),
        ("", [], {"data": "data"}, {"data/media": 0o700}),
        ("", [], {"media": "media"}, {"media": 0o700}),
        ("/", ["media", "reports"], {"data": "data"}, {"data": 0o750, "data/reports": 0o700}),
        ("/", ["media", "reports"], {"media": "up/media", "extra-reports": "r"}, {"up/media": 0o750, "r": 0o700}),
        ("/", ["media", "reports"], {"data": "data", "media": "up"}, {"up": 0o750, "data/reports": 0o700}),
        ("reports/", ["media", "reports"], {"data": "data", "media": "up"}, {"up": 0o710, "data/reports": 0o700}),
    ],
    ids=["media alone", "reports alone", "older", "older to older", "data", "apart", "apart from data", "no media"],
)
def test_what_is_closed_to_others_stays_closed(
    tmp_path: Path, content: str, folders: list[str], known: dict[str, str], closed: dict[str, int]
) -> None:
    bucket = Bucket(tmp_path, {k: d for k, d in MODERN.items() if content in k} if content else OLD, folders)
    for name in (*known.values(), *closed):
        (bucket.srv / name).mkdir(parents=True, exist_ok=True)
        own(bucket.srv / name)
    for name, mode in closed.items():
        (bucket.srv / name).chmod(mode)
    bucket.here = Here({key: str(bucket.srv / name) for key, name in known.items()}, modern="media" not in closed)
    bucket.swapped()
    for name, mode in closed.items():
        assert oct((bucket.srv / name).stat().st_mode & 0o7777) == oct(mode), name


@pytest.mark.parametrize("there", [True, False], ids=["there", "not yet"])
@pytest.mark.parametrize("known", ["data", "media"])
def test_reports_go_where_authentik_looks_for_them(tmp_path: Path, known: str, there: bool) -> None:
    bucket = Bucket(tmp_path, MODERN, ["media", "reports"])
    media, reports = bucket.srv / ("data/media" if known == "data" else "media"), bucket.srv / "own/reports"
    media.mkdir(parents=True)
    own(media.parent)
    (reports if there else reports.parent).mkdir(parents=True)
    own(reports.parent)
    places = [(known, bucket.srv / known), *([("extra-reports", reports)] if there else [])]
    instance = Instance(
        version={"value": "2026.2.0", "source": "test"},
        directories=tuple(Directory(component, str(path), "test") for component, path in places),
        reports="" if there and known == "data" else str(reports),
    )
    bucket.here = here_of(instance, {"instance": {"deployment": "host"}})
    assert "media of it goes to %s, and reports of it to %s" % (media, reports) in bucket.swapped()
    for usage, path in (("media/", media), ("reports/", reports)):
        assert files(path) == {key[len(usage) :]: MODERN[key] for key in MODERN if key.startswith(usage)}
    assert not os.path.lexists(bucket.srv / "data/reports")
    assert not os.path.lexists(bucket.srv / "reports")
    bucket.step("undo")
    assert (os.listdir(media), reports.exists()) == ([], there)


@pytest.mark.parametrize("directories", [{}, {"data": "data"}, {"media": "media"}])
def test_reports_alone_go_there_too(tmp_path: Path, directories: dict[str, str]) -> None:
    content = {key: data for key, data in MODERN.items() if key.startswith("reports")}
    bucket = Bucket(tmp_path, content, ["reports"])
    known = {component: str(bucket.srv / path) for component, path in directories.items()}
    bucket.here = Here(known, modern=True, reports=str(bucket.srv / "own/reports"))
    (bucket.srv / "own").mkdir()
    own(bucket.srv / "own")
    bucket.swapped()
    assert files(bucket.srv / "own/reports") == {key[len("reports/") :]: data for key, data in content.items()}


def test_reports_of_a_container_in_which_no_disk_is_mounted_for_them_are_left_out(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path, MODERN, ["media", "reports"])
    (bucket.srv / "media").mkdir()
    bucket.here = Here({"media": str(own(bucket.srv / "media"))}, "compose", modern=True)
    assert "no place for it: reports" in bucket.swapped()
    assert not os.path.lexists(bucket.srv / "reports")


def test_another_place_is_named_by_the_component(bucket: Bucket) -> None:
    other = bucket.srv / "other"
    other.mkdir()
    own(other)
    bucket.swapped(s3=str(other))
    assert files(other) == MODERN
    with pytest.raises(InputError, match="certs"):
        bucket.step("check", certs="/somewhere")


def test_they_are_only_restored_when_they_are_named(bucket: Bucket) -> None:
    assert _static_restore.choose(bucket.manifest, None) == ([], [])
    with pytest.raises(InputError, match="holds no directory certs") as refused:
        bucket.step("check", "certs")
    assert "s3" in refused.value.hint


def test_an_instance_without_such_a_directory_is_told_how_to_name_one(bucket: Bucket) -> None:
    bucket.here = Here({})
    with pytest.raises(InputError, match="data was saved from s3://b, and this instance has no such") as refused:
        bucket.step("check")
    assert "directories: {data: /path}" in refused.value.hint


def test_nobody_is_made_the_owner_of_what_is_not_there(bucket: Bucket) -> None:
    bucket.here = Here({"data": str(bucket.srv / "none")}, modern=True)
    if os.geteuid() == 0:
        with pytest.raises(StateError, match="whom they are to belong to") as refused:
            bucket.step("check")
        assert refused.value.command == "install -d -o authentik -g authentik %s" % (bucket.srv / "none")
        bucket.here = bucket.here._replace(deployment="compose")
        assert "they are given to 1000:1000, authentik's user" in "\n".join(bucket.step("check")["plan"])
    else:
        bucket.swapped()
        assert files(bucket.srv / "none") == MODERN


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("media/public", "both an object media/public and others below that name"),
        ("media/../../etc/passwd", "which cannot be a file"),
        ("/etc/passwd", "which cannot be a file"),
        ("media/a\0b", "which cannot be a file"),
        ("media/" + "n" * 256, "which cannot be a file"),
    ],
)
def test_names_that_no_files_can_have_are_refused_by_the_check(bucket: Bucket, key: str, said: str) -> None:
    before = state(bucket)
    first = bucket.index["objects"][0]
    bucket.index["objects"].append(dict(first, key=key))
    lines = sorted((one["key"], one["sha256"]) for one in bucket.index["objects"])
    digest = hashlib.sha256("".join("%s %s\0" % (sha256, name) for name, sha256 in lines).encode())
    bucket.fingerprint.update(files=5, bytes=bucket.fingerprint["bytes"] + first["size"], digest=digest.hexdigest())
    bucket.write_index()
    for step in ("check", "prepare"):
        with pytest.raises(RecoveryError, match=said):
            bucket.step(step)
    assert state(bucket) == before


def test_content_that_is_not_the_index_s_is_found_before_anything_is_touched(bucket: Bucket) -> None:
    before = state(bucket)
    pack = bucket.set / PACKS[0]
    data = MODERN["media/t_two/flow-backgrounds/sea.jpg"]
    assert pack.read_bytes().count(data) == 1
    pack.write_bytes(pack.read_bytes().replace(data, data[:-1] + bytes([data[-1] ^ 1])))
    for step in ("check", "prepare"):
        with pytest.raises(IntegrityError, match=r"sea\.jpg"):
            bucket.step(step)
    assert state(bucket) == before


def test_a_copy_that_is_not_what_was_unpacked_is_not_kept(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state(bucket)
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes([data[0] ^ 1]) + bytes(data[1:])))
    with pytest.raises(IntegrityError, match="not equal to the backup's fingerprint"):
        bucket.step("prepare")
    monkeypatch.undo()
    assert state(bucket) == before


def test_a_directory_of_the_set_in_the_same_place_is_refused(bucket: Bucket, tmp_path: Path) -> None:
    bucket.add_directory("data", bucket.srv / "data")
    with pytest.raises(InputError, match="is not apart from") as refused:
        bucket.step("check", "data s3")
    assert "leave it out" in refused.value.hint
    one = Bucket(tmp_path / "one", {"media/public/a": b"a"}, ["media"])
    one.add_directory("data", bucket.srv / "data")
    one.here = bucket.here
    with pytest.raises(InputError, match=r"s3 would be restored to \S+/data/media, which is not apart from") as refused:
        one.step("check", "data s3")
    assert "components: [s3]" in refused.value.hint
