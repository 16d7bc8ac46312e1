# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Callback that writes down each step as it begins and ends, and waits at one of them.

``RECOVERY_FAULT_STEPS`` names the file, ``RECOVERY_FAULT_STEP`` the step at whose beginning the run waits for as long
as the file ``RECOVERY_FAULT_GATE`` exists.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from ansible import constants
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: fault_steps
type: notification
short_description: Write down steps, and wait at one
description: For the tests of the collection, which interrupt runs.
requirements: [enabled by the test helper]
"""


class CallbackModule(CallbackBase):
    """See the module."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "fault_steps"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        # Where Ansible looks for what it has packed. The run's folder goes at its end, and only the link with it.
        os.symlink(os.environ["RECOVERY_TEST_PACKED"], os.path.join(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache"))
        self._counts: dict[str, int] = {}
        self._step = ""

    def _write(self, what: str, **more: Any) -> None:
        line = {"what": what, "step": self._step, "time": time.time(), **more}
        with open(os.environ["RECOVERY_FAULT_STEPS"], "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """A step begins; a name that was there before gets a number."""
        name = task.get_name().partition(" : ")[2] or task.get_name()
        self._counts[name] = number = self._counts.get(name, 0) + 1
        self._step = name if number == 1 else "%s (%d)" % (name, number)
        self._write("begins", action=task.action)
        gate = os.environ.get("RECOVERY_FAULT_GATE", "")
        while gate and self._step == os.environ.get("RECOVERY_FAULT_STEP") and os.path.exists(gate):
            time.sleep(0.005)

    def v2_runner_on_ok(self, result: Any) -> None:
        """A step succeeded."""
        self._write("ended", changed=bool(result._result.get("changed")))

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """A step failed."""
        self._write("failed", error=str(result._result.get("msg", ""))[:2000])

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """The host was not reached."""
        self._write("failed", error="unreachable: %s" % str(result._result.get("msg", ""))[:2000])

    def v2_runner_on_skipped(self, result: Any) -> None:
        """A step was none of this run's."""
        self._write("skipped")
