# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pruning of stores: what is deleted, what forbids it, and what is left of it when it is killed at any step."""

from __future__ import annotations

import datetime
import itertools
import json
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.action import authentik_prune
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _liveness, _lock, _prune
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._folder import Directory
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._notes import new_check
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sets import BackupSet
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import Store, open_store
from tests.support.store import BLOBS, fill, manifest_of, publish
from tests.unit.test_store_actions import act

DAY = datetime.timedelta(days=1)
# Long ago, whatever the clock says here: sets of the future are another matter.
NOW = datetime.datetime(2020, 11, 22, 3, 15, tzinfo=datetime.UTC)
MEDIA = "static/media.tar.zst"


def prune(store: Store, check: bool = False, **options: Any) -> dict[str, Any]:
    return act(authentik_prune, check=check, store=store.root, instance="sso", **{"keep_last": 1, **options})


def days(store: Store, number: int) -> list[str]:
    """Publish one set a day and return their ids, oldest first."""
    return [publish(store, now=NOW + one * DAY).set_id for one in range(number)]


def linked_to(store: Store, first: BackupSet, now: datetime.datetime) -> BackupSet:
    """Publish a set of which an artifact is a hard link to another set's."""
    partial = store.open(now, os.urandom(2), os.getpid())
    artifacts = fill(partial, {path: data for path, data in BLOBS.items() if path != MEDIA})
    (artifact,) = (one for one in first.manifest["artifacts"] if one["path"] == MEDIA)
    partial.link(first.folder, artifact)
    partial.save_record({"component": "media", "artifacts": [{"path": MEDIA}]}, [])
    return store.publish(partial, manifest_of(partial, [*artifacts, dict(artifact, linked_from=first.set_id)]), now)


def ids(store: Store) -> list[str]:
    return sorted(one.set_id for one in store.list_sets()[0])


def check_by_hand(store: Store) -> None:
    """Every set that is listed is whole, by C(sha256sum)."""
    for one in store.list_sets()[0]:
        done = subprocess.run(
            ["sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS"], cwd=one.path, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stdout


def test_the_plan_comes_first_and_is_what_is_done(store: Store) -> None:
    made = days(store, 5)
    before = sorted(path.name for path in Path(store.path).iterdir())
    planned = prune(store, check=True)
    assert planned["changed"]
    assert planned["deleted"] == made[:3], "the oldest goes first"
    assert planned["plan"] == [
        "keep   %s: the newest verified set, last 1" % made[4],
        "keep   %s: one of the 2 newest verified sets" % made[3],
        *("delete %s: not one of the last 1" % one for one in reversed(made[:3])),
    ]
    assert sorted(path.name for path in Path(store.path).iterdir()) == before, "check mode changes nothing"
    done = prune(store)
    assert (done["deleted"], done["plan"], done["changed"]) == (made[:3], planned["plan"], True)
    assert sorted(path.name for path in Path(store.path).iterdir()) == [
        made[3], made[3] + ".verified.json", made[4], made[4] + ".verified.json",
    ]  # fmt: skip
    again = prune(store)
    assert (again["changed"], again["deleted"]) == (False, [])
    check_by_hand(store)


def test_only_what_was_shown_is_deleted(store: Store) -> None:
    made = days(store, 5)
    assert prune(store, only=[made[1], made[4]])["deleted"] == [made[1]]
    assert prune(store, only=[])["deleted"] == []
    assert ids(store) == [made[0], *made[2:]]


def test_a_diff_names_the_sets(store: Store) -> None:
    made = days(store, 3)
    for check in (True, False):
        diff = prune(store, check=check)["diff"]
        assert (diff["before"].split(), diff["after"].split()) == (made, made[1:])


def test_pinned_sets_stay_with_their_reason(store: Store) -> None:
    made = days(store, 4)
    store.pin(made[0], "before the upgrade", NOW)
    done = prune(store)
    assert done["deleted"] == [made[1]]
    assert done["plan"][-1] == "keep   %s: pinned: before the upgrade" % made[0]
    store.pin(made[0], "", NOW)
    assert prune(store)["deleted"] == [made[0]]


def test_an_instance_without_a_store_is_left_without_one(store: Store) -> None:
    assert prune(store)["deleted"] == []
    assert not Path(store.root).exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"keep_last": 0}, "policy is empty"),
        ({"minimum_verified": 0}, "may_keep_none"),
        ({"keep_within": "a month"}, "not a duration"),
        ({"shrink_limit": 1.5}, "shrink_limit is 1.5"),
        ({"keep_daily": -1}, "daily -1"),
        ({"shrink_accepted": "20210101T000000Z-0000"}, "no backup set"),
        ({"shrink_accepted": "99991231T000000Z-0000"}, "no backup set"),
    ],
)
def test_options_that_cannot_be_meant_delete_nothing(store: Store, options: dict[str, Any], says: str) -> None:
    made = days(store, 4)
    result = prune(store, **options)
    assert result["failed"]
    assert says in result["msg"]
    assert ids(store) == made


# What forbids to delete.


def obstacle(store: Store, kind: str) -> tuple[str, str]:
    """Do something to the newest set, or beside it, and return its name and what is to be said."""
    newest = store.list_sets()[0][0]
    later = NOW + 30 * DAY
    if kind == "failed":
        store.record(newest, new_check("checksums", NOW, newest.manifest_sha256, "a byte differs"))
        return newest.set_id, "a byte differs"
    if kind == "unproved":
        store.record(newest, new_check("decode", NOW, newest.manifest_sha256, "no pg_restore", unproved=True))
        return newest.set_id, "is not verified"
    if kind == "never":
        Path(newest.path + ".verified.json").unlink()
        return newest.set_id, "is not verified"
    if kind == "broken":
        Path(newest.path, "manifest.json").unlink()
        return newest.set_id, "no manifest"
    ended = os.fork()
    if ended == 0:
        os._exit(0)
    partial = store.open(later, b"\x00\x01", ended if kind == "interrupted" else os.getpid())
    os.waitpid(ended, 0)
    return partial.set_id, "interrupted" if kind == "interrupted" else "is being made"


@pytest.mark.parametrize("kind", ["failed", "unproved", "never", "broken", "interrupted", "written"])
def test_nothing_is_deleted_while_the_newest_set_is_none(store: Store, kind: str) -> None:
    made = days(store, 5)
    name, says = obstacle(store, kind)
    for check in (True, False):
        result = prune(store, check=check)
        assert result["failed"]
        assert name in result["msg"]
        assert says in result["msg"]
        assert result["hint"]
        assert result["deleted"] == []
        assert result["plan"], "the plan is shown all the same"
    assert all(Path(store.path, one).is_dir() for one in made)


def test_a_damaged_old_set_neither_counts_nor_goes(store: Store) -> None:
    made = days(store, 5)
    middle = store.get(made[3])
    store.record(middle, new_check("checksums", NOW, middle.manifest_sha256, "a byte differs"))
    result = prune(store)
    assert result["deleted"] == made[:2], "two verified ones are left"
    assert "leave  %s: not usable: Its last verification failed: a byte differs" % made[3] in result["plan"]
    assert Path(middle.path).is_dir()


def a_set(number: int, rows: dict[str, int], files: int = 50, size: int = 10**7, verified: bool = True) -> BackupSet:
    set_id = "202011%02dT000000Z-0000" % number
    tables = {"public." + name: {"rows": count, "data": "included"} for name, count in rows.items()}
    artifacts = [
        {"path": "postgresql/a.dump", "component": "postgresql", "plain_size": size},
        {"path": "static/media.tar", "component": "media", "plain_size": 1000},
    ]
    components = {
        "postgresql": {"fingerprint": {"tables": tables}},
        "media": {"fingerprint": {"files": files, "bytes": files * 10}},
    }
    started = "2020-11-%02dT00:00:00Z" % number
    manifest = {"id": set_id, "artifacts": artifacts, "components": components, "started": started}
    return BackupSet(Directory("/nowhere"), manifest, "", [{"level": "checksums", "ok": True}] if verified else [], "")


USERS, EVENTS = "authentik_core_user", "authentik_events_event"


@pytest.mark.parametrize(
    ("sets", "limit", "says"),
    [
        ([a_set(1, {USERS: 240}), a_set(2, {USERS: 230})], 0.5, []),
        ([a_set(1, {USERS: 240}), a_set(2, {USERS: 120})], 0.5, []),
        ([a_set(1, {USERS: 240}), a_set(2, {USERS: 119})], 0.5,
         ["rows of public.authentik_core_user: 119, before 240", "rows in all: 119, before 240"]),
        ([a_set(1, {USERS: 240}), a_set(2, {USERS: 230})], 0.99, ["230, before 240"]),
        ([a_set(1, {USERS: 240}), a_set(2, {USERS: 0})], 0, []),
        # Few become fewer.
        ([a_set(1, {USERS: 9}), a_set(2, {USERS: 1})], 0.5, []),
        # What authentik empties by itself.
        ([a_set(1, {USERS: 20, EVENTS: 10**6}), a_set(2, {USERS: 20, EVENTS: 3})], 0.5, []),
        ([a_set(1, {USERS: 20, "authentik_core_session": 99}), a_set(2, {USERS: 20, "authentik_core_session": 0})],
         0.5, []),
        # A table that a release drops, and all of them.
        ([a_set(1, {USERS: 90, "old": 50}), a_set(2, {USERS: 90})], 0.5, []),
        ([a_set(1, {USERS: 90, "old": 500}), a_set(2, {"new": 20})], 0.5, ["rows in all: 20, before 590"]),
        ([a_set(1, {USERS: 90}), a_set(2, {USERS: 90}, files=3)], 0.5, ["media", "files: 3, before 50"]),
        ([a_set(1, {USERS: 90}), a_set(2, {USERS: 90}, size=10**6)], 0.5, ["bytes: 976.6 KiB, before 9.5 MiB"]),
        # A loss does not become right by the next backup.
        ([a_set(1, {USERS: 240}), a_set(2, {USERS: 12}), a_set(3, {USERS: 12})], 0.5,
         ["of 20201102T000000Z-0000 shrank much since 20201101T000000Z-0000", "12, before 240"]),
        # Nor does it hide behind a set that is not verified.
        ([a_set(1, {USERS: 240}), a_set(2, {USERS: 240}, verified=False), a_set(3, {USERS: 12})], 0.5,
         ["since 20201101T000000Z-0000"]),
    ],
)  # fmt: skip
def test_a_loss_is_told_with_both_numbers(sets: list[BackupSet], limit: float, says: list[str]) -> None:
    found = _prune.shrunk(sets[::-1], limit, "", NOW + 9 * DAY)
    assert bool(found) == bool(says)
    for part in says:
        assert part in "\n".join(found)
    if says:
        assert "authentik_shrink_accepted=2020110" in found[-1]
        assert _prune.shrunk(sets, limit, found[-1].split("accepted=")[1].split(",")[0], NOW + 9 * DAY) == []


def test_a_loss_is_accepted_once_and_for_all_before_it(store: Store) -> None:
    made = days(store, 3)
    small = publish(store, {**BLOBS, "postgresql/authentik.dump": b"d" * 90000}, now=NOW + 3 * DAY).set_id
    more = publish(store, {**BLOBS, "postgresql/authentik.dump": b"d" * 90000}, now=NOW + 4 * DAY).set_id
    refused = prune(store)
    assert refused["failed"]
    for part in ("87.9 KiB, before 293.0 KiB", small, made[2], "authentik_shrink_limit"):
        assert part in refused["msg"]
    assert prune(store, shrink_limit=0.2, check=True)["deleted"] == made
    assert not prune(store, check=True, shrink_accepted=small).get("failed")
    assert prune(store)["failed"], "check mode accepts nothing"
    assert prune(store, shrink_accepted=small)["deleted"] == made
    right = publish(store, now=NOW + 5 * DAY).set_id
    least = publish(store, {**BLOBS, "postgresql/authentik.dump": b"d"}, now=NOW + 6 * DAY).set_id
    assert least in prune(store)["msg"], "what is lost later is told again"
    assert ids(store) == [small, more, right, least]


# Killed at every step.


def kill_at(number: int) -> None:
    """Kill this process at the n-th step that changes a folder or makes that durable."""
    steps = itertools.count(1)

    def before(function: Any) -> Any:
        def wrapped(*args: Any, **more: Any) -> Any:
            if next(steps) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **more)

        return wrapped

    for name in ("rename", "unlink", "rmdir", "fsync", "ftruncate", "pwrite", "utime"):
        setattr(os, name, before(getattr(os, name)))


def killed_at(number: int, store: Store) -> bool:
    """Prune in a process that is killed at a step; False when it ended before."""
    child = os.fork()
    if child == 0:
        try:
            kill_at(number)
            os._exit(0 if not prune(store).get("failed") else 3)
        finally:
            os._exit(4)
    status = os.waitpid(child, 0)[1]
    assert status == 0 or os.WTERMSIG(status) == signal.SIGKILL, status
    return status != 0


def test_killed_at_any_step_no_half_set_is_a_set_and_the_next_run_finishes(tmp_path: Path) -> None:
    for number in itertools.count(1):
        store = open_store(str(tmp_path / str(number)), "sso")
        first = publish(store, now=NOW)
        kept = [linked_to(store, first, NOW + DAY).set_id, publish(store, now=NOW + 2 * DAY).set_id]
        store.pin(first.set_id, "no more", NOW)
        Path(first.path + ".pinned.json").unlink()
        goes_on = killed_at(number, store)
        left = ids(store)
        assert left in ([first.set_id, *kept], kept)
        check_by_hand(store)
        for problem in store.list_sets()[1]:
            assert problem.name == first.set_id + ".deleting"
            assert "the next prune" in problem.reason
        assert store.get("latest").set_id == kept[-1]
        done = prune(store)
        assert not done.get("failed"), done
        assert sorted(path.name for path in Path(store.path).iterdir()) == sorted(
            name for one in kept for name in (one, one + ".verified.json")
        )
        check_by_hand(store)
        assert prune(store)["changed"] is False
        if not goes_on:
            break
    assert number > 15, "it has many steps"


def test_check_mode_says_what_a_killed_run_left(store: Store) -> None:
    made = days(store, 3)
    os.rename(Path(store.path, made[0]), Path(store.path, made[0] + ".deleting"))
    result = prune(store, check=True)
    assert (result["finished"], result["changed"], result["deleted"]) == ([made[0]], True, [])
    assert Path(store.path, made[0] + ".deleting").is_dir()


# Two at once.


def owner_file(store: Store, **owner: Any) -> Path:
    path = Path(store.path, _lock.LOCK_NAME)
    path.write_text(json.dumps({"what": "a prune", "started": "2026-11-22T03:15:00Z", **owner}))
    return path


def test_while_one_prunes_another_is_refused_and_readers_are_not(store: Store) -> None:
    made = days(store, 4)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with store.removal().lock("a prune"):
            os.write(writing, b"1")
            signal.pause()
    os.read(reading, 1)
    try:
        refused = prune(store)
        assert refused["failed"]
        assert "a prune (process %d on " % child in refused["msg"]
        assert ids(store) == made
        assert prune(store, check=True)["deleted"] == made[:2]
        with pytest.raises(StateError, match=r"locked by a prune \(process %d on " % child):
            publish(store, now=NOW + 9 * DAY)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    # Its owner is dead: the next run goes on at once, and says so.
    assert Path(store.path, _lock.LOCK_NAME).exists()
    lock = store.removal().lock("x")
    with lock:
        assert "process %d" % child in lock.taken_over
    publish(store, now=NOW + 9 * DAY)
    assert prune(store)["deleted"] == made[:3]
    assert not Path(store.path, _lock.LOCK_NAME).exists()


def test_an_owner_on_another_machine_lives_until_it_has_been_silent_for_long(store: Store) -> None:
    made = days(store, 4)
    path = owner_file(store, host="elsewhere", pid=1, start="1")
    assert "process 1 on elsewhere" in prune(store)["msg"]
    assert ids(store) == made
    long_ago = path.stat().st_mtime - 2 * 3600
    os.utime(path, (long_ago, long_ago))
    assert prune(store)["deleted"] == made[:2]


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"host": 1}'])
def test_a_lock_that_was_never_written_whole_holds_nobody(store: Store, content: str) -> None:
    made = days(store, 4)
    path = Path(store.path, _lock.LOCK_NAME)
    path.write_text(content)
    os.utime(path, (1, 1))
    assert prune(store)["deleted"] == made[:2]


def test_where_the_file_system_has_no_locks_the_owner_in_the_file_counts(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: Any) -> None:
        raise OSError(95, "Operation not supported")

    days(store, 3)
    me = {"host": socket.gethostname(), "pid": os.getpid(), "start": _liveness.process_start(os.getpid())}
    owner_file(store, **me)
    monkeypatch.setattr(_lock.fcntl, "flock", refuse)
    with pytest.raises(StateError, match="locked by a prune"), store.removal().lock("x"):
        pass
    owner_file(store, **{**me, "start": "another process of that number"})
    with store.removal().lock("x"):
        assert json.loads(Path(store.path, _lock.LOCK_NAME).read_text())["what"] == "x"


def test_a_lock_whose_file_was_removed_meanwhile_is_not_the_lock(store: Store) -> None:
    """Who opened the file before its owner removed it would hold a lock that nobody else sees."""
    days(store, 1)
    lock = store.removal().lock("late")
    opened: list[int] = []

    def take(descriptor: int) -> bool:
        if not opened:
            Path(store.path, _lock.LOCK_NAME).unlink()
        opened.append(descriptor)
        return True

    original, _lock._take = _lock._take, take
    try:
        with lock:
            assert Path(store.path, _lock.LOCK_NAME).exists()
    finally:
        _lock._take = original
    assert len(opened) == 2
