# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets that are being written, and sets whose run is dead: the next run clears those, and no others."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._liveness import process_start
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import Store
from tests.support.store import BLOBS, NOW, fill, publish


def test_a_dead_run_is_cleared_by_the_next_and_a_living_one_is_not(store: Store) -> None:
    ended = subprocess.Popen(["sleep", "60"])
    dead = store.open(NOW, b"\x01\x01", ended.pid)
    fill(dead, BLOBS)
    ended.kill()
    ended.wait()
    living = store.open(NOW, b"\x02\x02", os.getpid())
    with pytest.raises(StateError, match="only one run at a time") as refused:
        store.open(NOW, b"\x03\x03", os.getpid())
    told = str(refused.value)
    assert "%s is being written by process %d on " % (living.path, os.getpid()) in told
    assert "since 2026-11-22T03:15:00Z, which was seen 0." in told
    assert os.listdir(store.path) == [living.set_id + ".partial"]
    living.discard()
    again = store.open(NOW, b"\x03\x03", os.getpid())
    assert os.listdir(store.path) == [again.set_id + ".partial"]


def test_a_process_of_another_container_with_this_ones_name_cannot_be_looked_at(store: Store) -> None:
    """Its number may be anybody's here: neither is it taken for dead at once, nor for alive for ever."""
    partial = store.open(NOW, b"\x01\x01", os.getpid())
    owner = Path(partial.path) / ".owner.json"
    owner.write_text(json.dumps({**json.loads(owner.read_text()), "place": "boot:pid:[1]", "pid": 2**22 + 1}))
    assert partial.alive()
    os.utime(owner, (1, 1))
    assert not partial.alive()


@pytest.mark.parametrize(("hours", "refused"), [(0, True), (2, False)])
def test_a_writer_on_another_machine_that_fell_silent_keeps_nobody_from_beginning(
    store: Store, hours: int, refused: bool
) -> None:
    partial = store.open(NOW, b"\x01\x01", os.getpid())
    owner = Path(partial.path) / ".owner.json"
    owner.write_text(json.dumps({**json.loads(owner.read_text()), "host": socket.gethostname() + "-other"}))
    beat = owner.stat().st_mtime - hours * 3600
    os.utime(owner, (beat, beat))
    with pytest.raises(StateError) if refused else contextlib.nullcontext():
        store.open(NOW, b"\x02\x02", os.getpid())
    assert Path(partial.path).exists(), "what it wrote stays for a day: it may be slow, and go on"


def test_a_backup_and_a_prune_exclude_each_other_from_the_first_moment(store: Store) -> None:
    """A set that is begun after a prune has looked, and before it deletes, would link to what goes."""
    publish(store)
    with store.removal().lock("a prune"):
        with pytest.raises(StateError, match="locked by a prune"):
            store.open(NOW, b"\x02\x02", os.getpid())
        assert [name for name in os.listdir(store.path) if name.endswith(".partial")] == []
        assert len(store.list_sets()[0]) == 1, "readers never wait"
    store.open(NOW, b"\x02\x02", os.getpid())


def test_a_process_that_reuses_the_number_is_not_the_owner(store: Store) -> None:
    partial = store.open(NOW, b"\x01\x01", os.getpid())
    owner = Path(partial.path) / ".owner.json"
    owner.write_text(json.dumps({**json.loads(owner.read_text()), "start": "1"}))
    assert not partial.alive()


def test_a_set_that_another_run_is_publishing_is_not_cleared(store: Store) -> None:
    partial = store.open(NOW, b"\x00\x01", os.getpid())
    partial.drop_working_files()
    assert store.clear_dead() == []
    os.utime(partial.path, (0, 0))
    assert store.clear_dead() == [os.path.basename(partial.path)]


@pytest.mark.parametrize(("age", "alive"), [(3600, True), (25 * 3600, False)])
def test_another_machines_set_is_dead_only_after_a_day_of_silence(store: Store, age: int, alive: bool) -> None:
    partial = store.open(NOW, b"\x01\x01", os.getpid())
    owner = Path(partial.path) / ".owner.json"
    owner.write_text(json.dumps({**json.loads(owner.read_text()), "host": socket.gethostname() + "-other"}))
    beat = owner.stat().st_mtime - age
    os.utime(owner, (beat, beat))
    assert partial.alive() is alive


def test_a_dead_process_that_nobody_reaped_does_not_run() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert process_start(child.pid) != ""
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process_start(child.pid) == "", "its unfinished set would never be cleared"
    child.communicate()
    assert process_start(child.pid) == ""
