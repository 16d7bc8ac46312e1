# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The store: what becomes visible, what does not, and what is refused."""

from __future__ import annotations

import datetime
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _manifest
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    IntegrityError,
    SpaceError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import DirectorySink, DirectorySource
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _partial
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._partial import PartialSet, process_start
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import BackupSet, DirectoryStore

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


def manifest_of(partial: PartialSet, artifacts: list[dict[str, Any]]) -> dict[str, Any]:
    return _manifest.build(
        partial.set_id,
        {"name": "sso", "deployment": "host"},
        partial.started,
        NOW,
        {"collection": "1.0.0", "ansible_core": "2.19.0"},
        artifacts,
        {name: saved["record"] for name, saved in partial.records().items()},
    )


def publish(store: DirectoryStore, blobs: dict[str, bytes] | None = None, now: datetime.datetime = NOW) -> BackupSet:
    partial = store.open(now, os.urandom(2), os.getpid())
    artifacts = fill(partial, blobs or BLOBS)
    return store.publish(partial, manifest_of(partial, artifacts), now)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(str(tmp_path / "store"), "sso")


def test_a_published_set_is_private_read_only_and_verifiable_by_hand(store: DirectoryStore) -> None:
    backup_set = publish(store)
    modes = {
        os.path.relpath(path, backup_set.path): oct(os.stat(path).st_mode & 0o777)
        for folder, folders, names in os.walk(backup_set.path)
        for path in [folder, *(os.path.join(folder, name) for name in names)]
    }
    assert modes == {
        ".": "0o700",
        "postgresql": "0o700",
        "static": "0o700",
        "postgresql/authentik.dump": "0o400",
        "static/media.tar.zst": "0o400",
        "manifest.json": "0o400",
        "SHA256SUMS": "0o400",
    }
    done = subprocess.run(
        ["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=backup_set.path, capture_output=True, text=True, check=True
    )
    assert done.stdout.count(": OK") == 2
    assert [one.set_id for one in store.list_sets()[0]] == [backup_set.set_id]
    assert backup_set.verified[0]["level"] == "checksums"
    assert backup_set.size == 305000


def test_an_unfinished_set_is_reported_but_never_a_set(store: DirectoryStore) -> None:
    partial = store.open(NOW, b"\x01\x02", os.getpid())
    fill(partial, BLOBS)
    sets, problems = store.list_sets()
    assert sets == []
    assert [(one.name, one.reason, one.unfinished) for one in problems] == [
        (partial.set_id + ".partial", "being written", True)
    ]
    with pytest.raises(InputError, match="being written"):
        store.get("latest")


def test_a_dead_run_is_cleared_by_the_next_and_a_living_one_is_not(store: DirectoryStore) -> None:
    ended = subprocess.Popen(["sleep", "60"])
    dead = store.open(NOW, b"\x01\x01", ended.pid)
    fill(dead, BLOBS)
    ended.kill()
    ended.wait()
    living = store.open(NOW, b"\x02\x02", os.getpid())
    again = store.open(NOW, b"\x03\x03", os.getpid())
    assert sorted(os.listdir(store.path)) == sorted([living.set_id + ".partial", again.set_id + ".partial"])


def test_a_process_that_reuses_the_number_is_not_the_owner(store: DirectoryStore) -> None:
    partial = store.open(NOW, b"\x01\x01", os.getpid())
    owner = Path(partial.path) / ".owner.json"
    owner.write_text(json.dumps({**json.loads(owner.read_text()), "start": "1"}))
    assert not partial.alive()


def test_a_set_that_another_run_is_publishing_is_not_cleared(store: DirectoryStore) -> None:
    partial = store.open(NOW, b"\x00\x01", os.getpid())
    partial.drop_working_files()
    assert store.clear_dead() == []
    os.utime(partial.path, (0, 0))
    assert store.clear_dead() == [os.path.basename(partial.path)]


@pytest.mark.parametrize(("age", "alive"), [(3600, True), (25 * 3600, False)])
def test_another_machines_set_is_dead_only_after_a_day_of_silence(store: DirectoryStore, age: int, alive: bool) -> None:
    partial = store.open(NOW, b"\x01\x01", os.getpid())
    owner = Path(partial.path) / ".owner.json"
    owner.write_text(json.dumps({**json.loads(owner.read_text()), "host": socket.gethostname() + "-other"}))
    beat = owner.stat().st_mtime - age
    os.utime(owner, (beat, beat))
    assert partial.alive() is alive


def test_ids_go_on_when_the_clock_goes_back(store: DirectoryStore) -> None:
    first = publish(store)
    second = publish(store, now=NOW - datetime.timedelta(days=30))
    assert second.set_id > first.set_id
    assert store.get("latest").set_id == second.set_id


@pytest.mark.parametrize("set_id", ["../sso", "..", "", "x", "../../etc", "20261122T031500Z-7f3a/../x"])
def test_ids_cannot_climb_out(store: DirectoryStore, set_id: str) -> None:
    publish(store)
    for use in (store.get, store.partial, store.published):
        with pytest.raises(InputError, match="not the id of a backup set"):
            use(set_id)


def test_an_absent_set_names_those_that_are_there(store: DirectoryStore) -> None:
    there = publish(store)
    with pytest.raises(InputError, match=there.set_id):
        store.get("20200101T000000Z-0000")
    with pytest.raises(InputError, match="holds nothing of this instance"):
        DirectoryStore(store.root, "other").get("latest")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("no manifest", "no manifest"),
        ("broken manifest", "not valid JSON"),
        ("newer", "format 2"),
        ("artifact gone", "is missing"),
        ("artifact truncated", "were recorded"),
        ("renamed", "is that of"),
        ("other instance", "is that of"),
    ],
)
def test_a_damaged_set_is_reported_with_its_reason_and_not_listed(
    store: DirectoryStore, damage: str, says: str
) -> None:
    good = publish(store)
    bad = publish(store)
    folder = Path(bad.path)
    manifest = folder / "manifest.json"
    artifact = folder / "static" / "media.tar.zst"
    manifest.chmod(0o600)
    artifact.chmod(0o600)
    name = bad.set_id
    if damage == "no manifest":
        manifest.unlink()
    elif damage == "broken manifest":
        manifest.write_bytes(manifest.read_bytes()[:-40])
    elif damage == "newer":
        manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 2'))
    elif damage == "artifact gone":
        artifact.unlink()
    elif damage == "artifact truncated":
        os.truncate(artifact, 4999)
    elif damage == "renamed":
        name = "20991122T031500Z-aaaa"
        folder.rename(folder.parent / name)
    else:
        manifest.write_text(manifest.read_text().replace('"name": "sso"', '"name": "elsewhere"'))
    sets, problems = store.list_sets()
    assert [one.set_id for one in sets] == [good.set_id]
    assert [one.name for one in problems] == [name]
    assert says in problems[0].reason
    with pytest.raises(IntegrityError, match=says):
        store.get(name)
    assert store.get("latest").set_id == good.set_id


def test_one_flipped_byte_is_found_recorded_and_the_set_is_no_longer_listed(store: DirectoryStore) -> None:
    backup_set = publish(store)
    artifact = Path(backup_set.path) / "postgresql" / "authentik.dump"
    artifact.chmod(0o600)
    good = artifact.read_bytes()
    artifact.write_bytes(good[:1000] + b"!" + good[1001:])
    with pytest.raises(IntegrityError, match="SHA-256"):
        store.verify(backup_set, NOW, record_it=False)
    assert len(store.list_sets()[0]) == 1
    with pytest.raises(IntegrityError, match="SHA-256"):
        store.verify(backup_set, NOW)
    sets, problems = store.list_sets()
    assert sets == []
    assert "last verification failed" in problems[0].reason
    artifact.write_bytes(good)
    record = store.verify(store.get(backup_set.set_id, recheck=True), NOW)
    assert (record["ok"], record["artifacts"], record["bytes"]) == (True, 2, 305000)
    assert len(store.list_sets()[0]) == 1


def test_sums_that_disagree_with_the_manifest_are_found(store: DirectoryStore) -> None:
    backup_set = publish(store)
    sums = Path(backup_set.path) / "SHA256SUMS"
    sums.chmod(0o600)
    sums.write_text(sums.read_text().replace("media", "mudia"))
    with pytest.raises(IntegrityError, match="SHA256SUMS"):
        store.verify(backup_set, NOW)


def test_what_changed_between_writing_and_publishing_is_not_published(store: DirectoryStore) -> None:
    for spoil in ("altered", "extra", "missing"):
        partial = store.open(NOW, os.urandom(2), os.getpid())
        artifacts = fill(partial, BLOBS)
        artifact = Path(partial.path) / "static" / "media.tar.zst"
        artifact.chmod(0o600)
        if spoil == "altered":
            artifact.write_bytes(b"x" * 5000)
        elif spoil == "extra":
            (artifact.parent / "other.tar").write_bytes(b"")
        else:
            artifact.unlink()
        with pytest.raises(IntegrityError):
            store.publish(partial, manifest_of(partial, artifacts), NOW)
    assert store.list_sets()[0] == []


def test_an_unchanged_artifact_is_linked_and_survives_its_origin(store: DirectoryStore) -> None:
    first = publish(store)
    partial = store.open(NOW, os.urandom(2), os.getpid())
    artifact = first.manifest["artifacts"][1]
    partial.link(first.path, artifact)
    partial.save_record({"component": "media", "artifacts": [{"path": artifact["path"]}]}, [])
    linked = [dict(artifact, linked_from=first.set_id)]
    second = store.publish(partial, manifest_of(partial, linked), NOW)
    paths = [os.path.join(one.path, artifact["path"]) for one in (first, second)]
    assert os.path.samefile(*paths)
    os.unlink(paths[0])
    assert store.verify(second, NOW)["ok"]


def test_where_links_are_not_possible_the_artifact_is_copied_and_compared(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = publish(store)

    def refuse(*args: Any, **how: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(_partial.os, "link", refuse)
    partial = store.open(NOW, os.urandom(2), os.getpid())
    artifact = first.manifest["artifacts"][1]
    partial.link(first.path, artifact)
    assert (Path(partial.path) / artifact["path"]).read_bytes() == BLOBS[artifact["path"]]
    source = Path(first.path) / artifact["path"]
    source.chmod(0o600)
    source.write_bytes(b"x" * 5000)
    other = store.open(NOW, os.urandom(2), os.getpid())
    with pytest.raises(IntegrityError, match="SHA-256"):
        other.link(first.path, artifact)


@pytest.mark.parametrize("path", ["a-file", "a-file/deeper"])
def test_a_store_that_is_a_file_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "a-file").write_text("")
    with pytest.raises(InputError, match="a-file"):
        DirectoryStore(str(tmp_path / path), "sso").open(NOW, b"\0\0", os.getpid())


def test_a_store_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    for folder in tmp_path.parents:
        if os.geteuid() == 0 and str(folder).startswith(tempfile.gettempdir() + "/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            DirectoryStore(str(locked / "store"), "sso").open(NOW, b"\0\0", os.getpid())
        except InputError as exc:
            os.write(writing, str(exc).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    said = os.read(reading, 4096).decode()
    assert str(locked / "store") in said
    assert "Permission denied" in said
    assert "owner and mode" in said


def test_a_full_store_is_a_space_error_and_leaves_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    sink = DirectorySink(str(tmp_path / "store"))
    # Python ignores SIGXFSZ: the write fails, as it does where the disk is full.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100000, before[1]))
    try:
        with pytest.raises(SpaceError, match=r"authentik\.dump") as caught, sink.artifact("pg/authentik.dump") as out:
            out.write(b"x" * 200000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "df -h" in str(caught.value)
    assert os.listdir(tmp_path / "store" / "pg") == []


def test_a_writer_that_was_killed_is_cleared_by_the_next_of_that_name(tmp_path: Path) -> None:
    abandoned = tmp_path / "pg" / ".a.dump.abcd.partial"
    abandoned.parent.mkdir()
    abandoned.write_bytes(b"half")
    sink = DirectorySink(str(tmp_path))
    with sink.artifact("pg/a.dump") as out:
        living = [name for name in os.listdir(tmp_path / "pg") if name != abandoned.name]
        assert not abandoned.exists()
        out.write(b"one")
        with sink.artifact("pg/a.dump") as second:
            second.write(b"two")
        assert living[0] in os.listdir(tmp_path / "pg")
    assert (tmp_path / "pg" / "a.dump").read_bytes() == b"one"
    assert os.listdir(tmp_path / "pg") == ["a.dump"]


def test_a_source_reads_to_the_end_even_when_its_reader_does_not(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"x" * 99 + b"!")
    record = {"path": "a/b", "size": 100, "sha256": "5" * 64}
    with (
        pytest.raises(IntegrityError, match=r"5{64} was recorded"),
        DirectorySource(str(tmp_path), [record]).artifact("a/b") as inp,
    ):
        assert inp.read(10) == b"x" * 10
    with (
        pytest.raises(InputError, match="holds no artifact a/c"),
        DirectorySource(str(tmp_path), [record]).artifact("a/c"),
    ):
        pass


def test_a_source_follows_no_trick(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    os.mkfifo(tmp_path / "a" / "b")
    (tmp_path / "a" / "c").mkdir()
    for name in ("a/b", "a/c"):
        record = {"path": name, "size": 0, "sha256": "0" * 64}
        with pytest.raises((IntegrityError, InputError)), DirectorySource(str(tmp_path), [record]).artifact(name):
            pass


def test_a_dead_process_that_nobody_reaped_does_not_run() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert process_start(child.pid) != ""
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process_start(child.pid) == "", "its unfinished set would never be cleared"
    child.communicate()
    assert process_start(child.pid) == ""
