# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A worker of Ansible whose playbook run was killed outlives it, and must not go on with the transfer."""

from __future__ import annotations

import os
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _stream
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._remote_spool import Look


class Host:
    """Spool, module and pump in one: chunks that never end, or a module that never ends."""

    def __init__(self, streaming: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        self.streaming = streaming
        self.looks = self.steps = 0
        self.killed_at = 3
        self.run = os.getppid()
        monkeypatch.setattr(os, "getppid", lambda: 1 if self.looks >= self.killed_at else self.run)

    def look(self, _finished: object = ()) -> Look:
        self.looks += 1
        if self.looks > self.killed_at:
            pytest.fail("the spool was looked at after the run was killed: its next run may be using it")
        return Look({"done": not self.streaming}, [])

    def step(self, _look: Look) -> bool:
        self.steps += 1
        return self.streaming

    def finished_files(self) -> list[str]:
        return []

    def result(self) -> dict[str, Any] | None:
        return None

    def wait(self, _seconds: float) -> dict[str, Any] | None:
        return None


@pytest.mark.parametrize("streaming", [True, False])
def test_a_worker_stops_when_its_run_was_killed(streaming: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    host: Any = Host(streaming, monkeypatch)
    beats: list[int] = []
    with pytest.raises(StateError, match="was killed"):
        _stream.drive(host, host, host, lambda: beats.append(host.looks))
    # A beat after that would make the dead run's set look alive.
    assert beats == list(range(host.killed_at))
    assert host.steps == (host.killed_at if streaming else 1)
