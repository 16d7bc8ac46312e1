# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""A module of the task, started asynchronously on the host, and its result."""

from __future__ import annotations

import json
import os
import shlex
import time
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError

# Nothing limits a transfer but the controller's lease.
_LIMIT_SECONDS = 30 * 24 * 3600
_MARK = "authentik-recovery-job:"
# How ansible-core since 2.19 marks values that plain JSON has no form for.
_TAGGED = "__ansible_type"
_BOOKKEEPING = ("started", "finished", "ansible_job_id", "results_file", "invocation", "_ansible_no_log", "erased")


class AsyncJob:
    """One run of a module on the host.

    :param action: the action plugin, with its task, connection and loaders.
    :param task_vars: the variables of the task.
    """

    def __init__(self, action: t.Any, task_vars: dict[str, t.Any]) -> None:
        self._action = action
        self._task_vars = task_vars
        self._job_id = self._file = ""
        self._result: dict[str, t.Any] | None = None

    def start(self, arguments: dict[str, t.Any]) -> bool:
        """Start the task's module with these arguments; when it could not be started the result says why."""
        task = self._action._task
        before = task.async_val
        task.async_val = _LIMIT_SECONDS
        try:
            started = self._action._execute_module(module_args=arguments, task_vars=self._task_vars, wrap_async=True)
        finally:
            task.async_val = before
        self._job_id = str(started.get("ansible_job_id") or "")
        self._file = str(started.get("results_file") or "")
        if not self._job_id:
            self._result = dict(started, failed=True)
        return bool(self._job_id)

    def result(self) -> dict[str, t.Any] | None:
        """Return the module's result, or None while it runs."""
        if self._result is None:
            status = self._read() or self._ask()
            if status.get("finished") or status.get("failed"):
                self._result = {
                    name: value
                    for name, value in status.items()
                    if name not in _BOOKKEEPING and not (name.startswith(("stdout", "stderr")) and not value)
                }
        return self._result

    def wait(self, seconds: float) -> dict[str, t.Any] | None:
        """Return the result once the module has ended, None when it has not within that time."""
        deadline = time.monotonic() + seconds
        while self.result() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        return self._result

    def clean(self) -> None:
        """Remove the job's file from the host.

        :raises StateError: when it cannot be removed.
        """
        if self._job_id and self._result is not None:
            done = self._command("rm -f -- %s" % shlex.quote(self._file))
            if done.get("rc") != 0:
                raise StateError("rm of %s failed: %s" % (self._file, str(done.get("stderr") or "").strip()))

    def _read(self) -> dict[str, t.Any]:
        """Return the status as async_status would, for a tenth of its price; empty when it has to be asked."""
        said = self._command("echo %s; cat -- %s" % (_MARK, shlex.quote(self._file)))
        text = str(said.get("stdout", "")).partition(_MARK)[2]
        try:
            status = json.loads(text)
        except ValueError:
            return {}
        if said.get("rc") != 0 or _TAGGED in text or not isinstance(status, dict):
            return {}
        # The file holds the module's result, which knows nothing of jobs, once that is there.
        return status if "started" in status else dict(status, finished=True)

    def _ask(self) -> dict[str, t.Any]:
        # The action plugin async_status would look in the login's home, which need not be the module's.
        arguments = {"jid": self._job_id, "mode": "status", "_async_dir": os.path.dirname(self._file)}
        return dict(
            self._action._execute_module(
                module_name="ansible.legacy.async_status", module_args=arguments, task_vars=self._task_vars
            )
        )

    def _command(self, command: str) -> dict[str, t.Any]:
        """Run a command as the module ran: as the user of become, where there is one."""
        return dict(self._action._low_level_execute_command(command))
