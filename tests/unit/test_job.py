# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the end of a module on the host is read: cheaply, and never wrongly."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._job import AsyncJob

FILE = "/root/.ansible_async/j1.2"
ASKED = {"finished": 1, "asked": True}


class Action:
    """An action plugin whose host answers commands with what is given."""

    def __init__(self, rc: int = 0, stdout: str = "", stderr: str = "") -> None:
        self._task = SimpleNamespace(async_val=0)
        self._answer = {"rc": rc, "stdout": stdout, "stderr": stderr}
        self.commands: list[str] = []

    def _execute_module(self, wrap_async: bool = False, **_options: Any) -> dict[str, Any]:
        return {"ansible_job_id": "j1.2", "results_file": FILE} if wrap_async else dict(ASKED)

    def _low_level_execute_command(self, command: str) -> dict[str, Any]:
        self.commands.append(command)
        return self._answer


def job(action: Action) -> AsyncJob:
    made = AsyncJob(action, {})
    assert made.start({})
    return made


def said(content: Any) -> str:
    """What a host with a talkative login shell prints for a job's file."""
    return "Welcome!\nauthentik-recovery-job:\n%s" % (content if isinstance(content, str) else json.dumps(content))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"stdout": said({"changed": True, "stderr": ""})}, {"changed": True}),
        ({"stdout": said({"failed": True, "stderr": "why"})}, {"failed": True, "stderr": "why"}),
        ({"stdout": said({"started": 1, "finished": 0, "ansible_job_id": "j1.2"})}, None),
        # Whatever is not plain is left to async_status, which knows the releases of Ansible.
        ({"stdout": said({"warnings": [{"__ansible_type": "x"}]})}, {"asked": True}),
        ({"stdout": said('{"cut')}, {"asked": True}),
        ({"stdout": said("[1]")}, {"asked": True}),
        ({"stdout": said({"changed": True}), "rc": 1}, {"asked": True}),
        ({"stdout": "sudo: a password is required", "rc": 1}, {"asked": True}),
    ],
)  # fmt: skip
def test_the_result_of_a_module(answer: dict[str, Any], expected: dict[str, Any] | None) -> None:
    assert job(Action(**answer)).result() == expected


def test_a_jobs_file_that_stays_is_told() -> None:
    action = Action(rc=1, stdout=said({"changed": False}), stderr="rm: cannot remove: Read-only file system")
    made = job(action)
    made.result()
    with pytest.raises(StateError, match=r"j1\.2 failed: rm: cannot remove: Read-only file system"):
        made.clean()
    assert action.commands[-1] == "rm -f -- %s" % FILE
