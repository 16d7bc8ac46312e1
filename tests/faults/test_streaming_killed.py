# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A controller killed with SIGKILL while artifacts stream: nothing is visible, and the next run clears up by itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.streaming.rig import DUMP, Rig, content, part

SIZE = 24 * 1048576


def _until(ready: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)


def _modules(rig: Rig) -> list[str]:
    """Processes on the host that still run the producer of this test."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            if str(rig.work / "remote_tmp") in command and "stream_out" in command:
                found.append(command)
    return found


@pytest.mark.parametrize("moment", ["first chunk", "several chunks"])
def test_a_killed_controller_leaves_nothing_that_the_next_run_does_not_clear(tmp_path: Path, moment: str) -> None:
    rig = Rig(tmp_path)
    assert rig.play(rig.backup_tasks([part(1048576)])).ok
    before = rig.visible()
    playbook = tmp_path / "slow.json"
    playbook.write_text(json.dumps([rig.as_play(rig.backup_tasks([part(SIZE, pause=0.4)]))]))
    process = subprocess.Popen(
        [rig.controller.program, str(playbook)],
        env=rig.controller.environment(),
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def arrived() -> int:
        return sum(path.stat().st_size for path in rig.store.glob("sso/*.partial/postgresql/.*.partial"))

    _until(lambda: arrived() >= (1 if moment == "first chunk" else 3 * 1048576), 90)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    left = rig.visible()
    assert [name for name in left if not name.endswith(".partial")] == before
    assert any(name.endswith(".partial") for name in left)
    assert len(list(rig.spools.iterdir())) == 1

    run = rig.play(rig.backup_tasks([part(SIZE, 5)]))
    assert run.ok, run.output
    assert rig.stored() == content(SIZE, 5)
    assert not any(name.endswith(".partial") for name in rig.visible())
    assert list(rig.spools.iterdir()) == []
    assert list((tmp_path / "local_tmp").glob("authentik_recovery-*")) == []
    # The producer of the killed run sees that its spool is gone and ends.
    _until(lambda: not _modules(rig), 30)
    sets = [name for name in rig.visible() if "." not in name]
    assert len(sets) == 2
    assert (rig.store / "sso" / sets[0] / DUMP).read_bytes() == content(1048576)
    rig.close()
