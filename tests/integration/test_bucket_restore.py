# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A bucket restored on a real S3 server: proved beside what is live, exchanged, put back, whatever is cut off."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pyrage
import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.authentik_ops.recovery.plugins.module_utils import (
    _restore_claim,
    _restore_lease,
    _restore_record,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    IntegrityError,
    RecoveryError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _bucket_restore, _sign_of_life
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_objects import of_packs
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_restore import BucketRestore, not_there
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._identity import IdentitySource
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._opened import plain_source
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_client import make_client
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sign_of_life import SignOfLife
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import Store
from tests.support.bucket import Files
from tests.support.bucket_restore import ID, Killed, cut_off, files, leave, live, new_bucket, opened, restore_of
from tests.support.s3_server import S3Server
from tests.unit.test_restore_record import NOW, facts, manifest, owner

__all__ = ["files"]


def test_the_bucket_becomes_what_the_set_holds_and_can_be_put_back(files: Files, store: Store) -> None:
    then = files.content()
    saved = files.save(store)["set"]
    now = leave(files)
    restore = restore_of(files)
    changes = restore.prepare(opened(saved))
    assert sorted(entry["key"].rpartition("/")[2] for entry in changes.put) == ["changed", "deleted", "touched ü"]
    assert changes.removed == ["media/public/new"]
    assert "1 object new, 2 replaced, 1 deleted" in changes.lines(files.bucket)[0]
    assert live(files.content()) == now
    assert restore.swap()
    assert live(files.content()) == then
    kept = [key for key in files.content() if key.startswith("authentik-")]
    assert all(key.startswith("authentik-before-%s/" % ID) for key in kept)
    # What is kept is no file of the instance.
    assert files.save(store)["objects"] == 4
    assert restore.undo(pretend=True)
    assert live(files.content()) == then
    assert "3 objects put back, 1 taken away" in restore.undo()[0]
    assert files.content() == now
    assert restore.undo() == []


def test_what_is_equal_is_left_alone(files: Files, store: Store) -> None:
    saved = files.save(store)["set"]
    before = files.content()
    restore = restore_of(files)
    changes = restore.prepare(opened(saved))
    assert (changes.put, changes.removed) == ([], [])
    assert "is as the set has it" in changes.lines(files.bucket)[0]
    assert not restore.swap()
    assert files.content() == before


def test_another_bucket_gets_the_same_objects(files: Files, store: Store, s3_server: S3Server) -> None:
    large = os.urandom(_bucket_restore._SMALL_BYTES + 17)
    files.put("reports/public/large", large, ContentDisposition="attachment")
    saved = files.save(store)["set"]
    other = Files(s3_server, new_bucket(s3_server))
    restore = restore_of(other)
    restore.prepare(opened(saved))
    assert restore.swap()
    expected = {key: one for key, one in files.content().items() if not key.startswith("other/")}
    assert live(other.content()) == expected


def test_an_encrypted_set_is_restored_by_who_has_the_identity(files: Files, store: Store, tmp_path: Path) -> None:
    then = files.content()
    identity = pyrage.x25519.Identity.generate()
    saved = files.save(store, [str(identity.to_public())])["set"]
    leave(files)
    (tmp_path / "identity").write_text(str(identity))
    source = plain_source(saved, IdentitySource(str(tmp_path / "identity"), None))
    restore = restore_of(files)
    restore.prepare(of_packs(saved.manifest["components"]["s3"], source))
    assert restore.swap()
    assert live(files.content()) == then


@pytest.mark.parametrize("at", ["kept", "journal", "put"])
def test_a_swap_that_is_cut_off_goes_on_or_back(
    files: Files, store: Store, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    then = files.content()
    saved = files.save(store)["set"]
    now = leave(files)
    restore = restore_of(files)
    for goes_on in (False, True):
        restore.prepare(opened(saved))
        with monkeypatch.context() as patch:
            cut_off(patch, at)
            with pytest.raises(Killed):
                restore.swap()
        if at != "put":
            assert live(files.content()) == now
        if goes_on:
            assert restore.swap()
            assert live(files.content()) == then
        restore.undo()
        assert files.content() == now


def test_what_was_prepared_and_is_gone_is_no_success(files: Files, store: Store) -> None:
    saved = files.save(store)["set"]
    leave(files)
    restore = restore_of(files)
    restore.prepare(opened(saved))
    for key in files.content():
        if key.startswith("authentik-new-"):
            files.delete(key)
    with pytest.raises(StateError, match="Nothing is prepared"):
        restore.swap()


def test_nothing_is_swapped_that_is_not_what_was_saved(
    files: Files, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = files.save(store)["set"]
    now = leave(files)
    restore = restore_of(files)
    put = _bucket_restore.put_small

    def altered(client: Any, place: Any, name: str, data: bytes, **more: Any) -> str:
        return put(client, place, name, b"X" + data[1:] if name.endswith("/changed") else data, **more)

    monkeypatch.setattr(_bucket_restore, "put_small", altered)
    with pytest.raises(IntegrityError, match="changed is not what was written"):
        restore.prepare(opened(saved))
    assert live(files.content()) == now
    with pytest.raises(StateError, match="Nothing is prepared"):
        restore.swap()
    restore.undo()
    assert files.content() == now


@pytest.mark.parametrize("modern", [True, False])
def test_names_become_those_of_the_instance(files: Files, store: Store, s3_server: S3Server, modern: bool) -> None:
    """Modern: the set is of a release since 2025.12, and goes into an instance of before that."""
    then = {key[len("media/") :]: one for key, one in files.content().items() if key.startswith("media/")}
    files.put("reports/public/r.csv", b"a,b", ContentType="text/csv")
    older, newer = Files(s3_server, new_bucket(s3_server), ()), files
    for key, (data, about) in then.items():
        older.put(key, data, **about)
    saved = opened((newer if modern else older).save(store)["set"])
    target = older if modern else newer
    prefix = "" if modern else "media/"
    target.delete(prefix + "public/deleted")
    target.put(prefix + "public/new", b"new")
    now = target.content()
    restore = restore_of(target)
    changes = restore.prepare(saved)
    said = "\n".join(changes.lines(target.bucket))
    assert "1 object new, 0 replaced, 1 deleted" in said
    if modern:
        assert "media/public/... is public/... here" in said
        assert "has no place in its bucket for 1 object: reports/public/r.csv" in said
    else:
        assert "public/... is media/public/... here" in said
        assert "reports/ in the bucket stays as it is" in said
    assert restore.swap()
    there = live(target.content())
    assert {key: one for key, one in there.items() if not key.startswith(("reports/", "other/"))} == {
        prefix + key: one for key, one in then.items()
    }
    assert ("reports/public/r.csv" in there) is not modern
    again = BucketRestore(target.bucket, ID[:-4] + "1b2d", lambda: None).changes(saved)
    assert (again.put, again.removed) == ([], [])
    restore.undo()
    assert target.content() == now


@pytest.fixture
def lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A restore that began, by the environment of its modules; a sign of life is due all the time."""
    monkeypatch.setattr(_sign_of_life, "EVERY_SECONDS", 0.02)
    claim = _restore_claim.Claim(owner("first"))
    record, _dead = _restore_record.begin(str(tmp_path / "work"), manifest(), facts(ID), NOW, claim)
    return _restore_lease.environment(str(tmp_path / "work"), record)


def sign(lease: dict[str, str]) -> dict[str, Any]:
    """Do what each module does first on the host."""
    try:
        _restore_lease.keep_alive(lease)
    except RecoveryError as exc:
        return dict(exc.as_result(), failed=True)
    return {}


@pytest.mark.parametrize("step", ["prepare", "swap", "undo"])
def test_a_restore_that_works_long_lives_and_stops_when_it_is_another_ones(
    files: Files, store: Store, s3_server: S3Server, lease: dict[str, str], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    files.bucket = files.bucket._replace(client=make_client(s3_server.options(parallel=1)))
    saved, now = opened(files.save(store)["set"]), leave(files)
    record = Path(lease[_restore_lease.FOLDER]) / "restore.json"
    restore = restore_of(files)
    if step != "prepare":
        restore.prepare(saved)
    if step == "undo":
        restore.swap()
    before = files.content()
    robbed = threading.Event()
    name = {"prepare": "put_small", "swap": "copy", "undo": "copy"}[step]
    real = getattr(_bucket_restore, name)

    def long(*arguments: Any, **more: Any) -> Any:
        """The first change takes long; meanwhile there are signs, then somebody takes the restore."""
        if not robbed.is_set():
            os.utime(record, (0, 0))
            assert until(lambda: record.stat().st_mtime > 1), "no sign of life"
            claim = _restore_claim.Claim(owner("second"), ("first",))
            _restore_record.take(str(record.parent.parent), ID, NOW, claim)
            assert until(lambda: life._refusal is not None)
            robbed.set()
        return real(*arguments, **more)

    monkeypatch.setattr(_bucket_restore, name, long)
    with SignOfLife(lambda: sign(lease)) as life:
        restore = BucketRestore(files.bucket, ID, life.check)
        work = {"prepare": lambda: restore.prepare(saved), "swap": restore.swap, "undo": restore.undo}[step]
        with pytest.raises(StateError, match="taken for dead"):
            work()
    # What was under way was ended, and nothing more was begun.
    after = files.content()
    assert sum(before.get(key) != after.get(key) for key in {*before, *after}) == 1
    if step != "undo":
        assert live(after) == now


def until(holds: Any, seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(holds())


def test_a_host_that_cannot_be_reached_is_waited_for_until_the_lease_ends(
    lease: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = threading.Event()

    def give() -> dict[str, Any]:
        if not reached.is_set():
            raise AnsibleConnectionFailure("unreachable")
        return sign(lease)

    with SignOfLife(give) as life:
        time.sleep(0.1)
        life.check()
        monkeypatch.setattr(_sign_of_life, "SILENCE_SECONDS", 0.05)
        with pytest.raises(StateError, match="no sign of life"):
            life.check()
        monkeypatch.setattr(_sign_of_life, "SILENCE_SECONDS", 20)
        silent = life._last
        reached.set()
        assert until(lambda: life._last > silent)


def test_the_refusal_of_an_instance_with_files_on_a_disk_names_the_module_for_it() -> None:
    said = not_there(ID)
    assert ID in said.cause
    assert "authentik_static_restore puts them there, with components: [s3]" in said.hint
    assert 'restore -e authentik_backup_id=%s -e \'{"authentik_components": ["s3"]}\'' % ID in said.command
