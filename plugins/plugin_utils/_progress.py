# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Lines that tell an operator how far a transfer is: one every few seconds, not one per chunk."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import format_bytes, format_duration

_EVERY_SECONDS = 5.0


def progress_line(label: str, done: int, seconds: float, total: int | None, estimated: bool) -> str:
    """Return one line: what, how much, how fast, and which share where a total is known or estimated."""
    rate = format_bytes(done / seconds) if seconds > 0 else format_bytes(done)
    line = "%s: %s in %s, %s/s" % (label, format_bytes(done), format_duration(seconds), rate)
    if total:
        share = min(100 * done // total, 99 if estimated else 100)
        line += ", %s%d %%" % ("about " if estimated else "", share)
        line += " of %s" % format_bytes(total) if not estimated else " (last time: %s)" % format_bytes(total)
    return line


class Progress:
    """Shows one artifact after another.

    :param show: gets each line, as C(Display.display) does.
    :param host: name of the host in the inventory.
    """

    def __init__(self, show: t.Callable[[str], t.Any], host: str) -> None:
        self._show = show
        self._host = host
        self._label = ""
        self._done = 0
        self._total: int | None = None
        self._estimated = False
        self._since = self._last = time.monotonic()

    def begin(self, label: str, total: int | None, estimated: bool) -> None:
        """Start with the next artifact.

        :param total: bytes to expect, where known.
        :param estimated: the total is only a guess from the previous set.
        """
        self._label, self._total, self._estimated, self._done = label, total, estimated, 0
        self._since = self._last = time.monotonic()

    def add(self, size: int) -> None:
        """Count bytes, and show a line when the last one is some seconds old."""
        self._done += size
        now = time.monotonic()
        if now - self._last >= _EVERY_SECONDS:
            self._last = now
            line = progress_line(self._label, self._done, now - self._since, self._total, self._estimated)
            self._show("authentik recovery: [%s] %s" % (self._host, line))

    @property
    def seconds(self) -> float:
        """Seconds since the artifact began."""
        return time.monotonic() - self._since
