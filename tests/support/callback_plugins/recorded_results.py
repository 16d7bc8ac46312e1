# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Callback that writes every task result as one JSON line to the file named by ``RECOVERY_TEST_RESULTS``."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from ansible import constants
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: recorded_results
type: notification
short_description: Write task results as JSON lines
description: For the tests of the collection, which read results instead of screens.
requirements: [enabled by the test helper]
"""


class CallbackModule(CallbackBase):
    """See the module."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "recorded_results"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        # Where Ansible looks for what it has packed. The run's folder goes at its end, and only the link with it.
        os.symlink(os.environ["RECOVERY_TEST_PACKED"], os.path.join(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache"))
        self._began = time.monotonic()

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Start the clock of a task."""
        self._began = time.monotonic()

    def _write(self, status: str, result: Any, **more: Any) -> None:
        line = {
            "status": status,
            "host": result._host.get_name(),
            "task": result._task.get_name(),
            "action": result._task.action,
            "result": result._result,
            "seconds": time.monotonic() - self._began,
            **more,
        }
        with open(os.environ["RECOVERY_TEST_RESULTS"], "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line, default=str) + "\n")

    def v2_runner_on_ok(self, result: Any) -> None:
        """A task succeeded."""
        self._write("ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """A task failed."""
        self._write("failed", result, ignored=bool(ignore_errors))

    def v2_runner_on_skipped(self, result: Any) -> None:
        """A task was skipped by its condition."""
        self._write("skipped", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """The host could not be reached."""
        self._write("unreachable", result)
