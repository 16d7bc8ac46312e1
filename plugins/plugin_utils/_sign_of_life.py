# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Signs of life of a restore while the controller works, and no module gives them as in _restore_lease."""

from __future__ import annotations

import contextvars
import threading
import time
import typing as t

from ansible.errors import AnsibleError

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._restore_claim import LEASE_SECONDS
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import format_duration

EVERY_SECONDS = 60.0
#: Without a sign for so long, nothing more is changed: another controller is about to take the restore for dead.
SILENCE_SECONDS = LEASE_SECONDS - EVERY_SECONDS


class SignOfLife:
    """Gives them in a thread of its own while the context lasts.

    :param give: runs a module on the host with the restore's environment, and returns its result. Nothing else may use
        the connection meanwhile.
    """

    def __init__(self, give: t.Callable[[], t.Mapping[str, t.Any]]) -> None:
        self._give = give
        self._ended = threading.Event()
        self._refusal: StateError | None = None
        self._last = _now()
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._run,), name="sign-of-life", daemon=True)

    def __enter__(self) -> SignOfLife:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._ended.set()
        # What comes next may use the connection.
        self._thread.join()

    def check(self) -> None:
        """Tell that nothing more may be changed. Cheap, and for any thread.

        :raises StateError: the restore is another run's now, or may become that any moment.
        """
        if self._refusal is not None:
            raise StateError(self._refusal.cause, self._refusal.hint, self._refusal.command)
        silent = _now() - self._last
        if silent > SILENCE_SECONDS:
            raise StateError(
                "For %s this run could give no sign of life on the host, so another one may take it for dead"
                % format_duration(silent),
                "Look whether the host can be reached, and repeat",
            )

    def _run(self) -> None:
        while not self._ended.wait(EVERY_SECONDS):
            begin = _now()
            try:
                result = self._give()
            except AnsibleError:
                continue  # a host that cannot be reached for a moment
            if result.get("failed") and result.get("error") == StateError.__name__:
                told = (str(result.get(name) or "") for name in ("cause", "hint", "next_command"))
                self._refusal = StateError(*told)
                return
            # What else the module refuses, it does after its sign.
            if not result.get("failed") or "error" in result:
                self._last = begin


def _now() -> float:
    """Return seconds that also pass while the controller sleeps, where it can tell."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
