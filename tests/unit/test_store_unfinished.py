# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets that are being written, and sets whose run is dead: the next run clears those, and no others."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._partial import process_start
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import Store
from tests.support.store import BLOBS, NOW, fill


def test_a_dead_run_is_cleared_by_the_next_and_a_living_one_is_not(store: Store) -> None:
    ended = subprocess.Popen(["sleep", "60"])
    dead = store.open(NOW, b"\x01\x01", ended.pid)
    fill(dead, BLOBS)
    ended.kill()
    ended.wait()
    living = store.open(NOW, b"\x02\x02", os.getpid())
    again = store.open(NOW, b"\x03\x03", os.getpid())
    assert sorted(os.listdir(store.path)) == sorted([living.set_id + ".partial", again.set_id + ".partial"])


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
