# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""How long a request to an S3 endpoint is tried again, and how an operator sees that it is.

An endpoint of one's own may be restarted in the middle of a run, which takes longer than the second or two that boto3
waits. So the bound is a time, not a number of attempts.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import format_duration
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_errors import reason_of

_EVERY_SECONDS = 5.0
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 10.0
# Where a request is damaged on its way the next one may pass; where it is each time, none will.
_DAMAGED_ATTEMPTS = 3

_BUSY = (
    "BandwidthLimitExceeded",
    "RequestLimitExceeded",
    "RequestThrottled",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
)
_PASSING = ("InternalError", "OperationAborted", "RequestTimeout", "RequestTimeoutException", "ServiceUnavailable")
_DAMAGED = ("BadDigest", "XAmzContentSHA256Mismatch")
_PASSING_STATUS = (429, 500, 502, 503, 504)
# What no waiting changes: certificates, a port without TLS, a name that does not exist.
_LASTING = (
    "CERTIFICATE_VERIFY_FAILED",
    "doesn't match",
    "WRONG_VERSION_NUMBER",
    "wrong version number",
    "Name or service not known",
    "nodename nor servname",
)


class Patience:
    """Decides which requests of a client are tried again, and says so.

    :param seconds: for how long after its first failure a request is repeated.
    :param show: gets a line, at most one every few seconds.
    :param endpoint: named in the lines.
    """

    def __init__(self, seconds: float, show: t.Callable[[str], t.Any] | None, endpoint: str) -> None:
        self._seconds = seconds
        self._show = show
        self._endpoint = endpoint
        self._last_line = 0.0
        self._lock = threading.Lock()
        self._here = threading.local()

    @contextlib.contextmanager
    def limited(self, seconds: float | None = None, until: threading.Event | None = None) -> t.Iterator[None]:
        """Repeat the requests of this thread less long, or no more once the event is set."""
        before = self._limits()
        self._here.limits = (before[0] if seconds is None else min(seconds, before[0]), until or before[1])
        try:
            yield
        finally:
            self._here.limits = before

    def _limits(self) -> tuple[float, threading.Event | None]:
        return getattr(self._here, "limits", (self._seconds, None))

    def needs_retry(
        self,
        *,
        response: t.Any = None,
        operation: t.Any = None,
        attempts: int = 1,
        caught_exception: BaseException | None = None,
        request_dict: dict[str, t.Any] | None = None,
        **_more: t.Any,
    ) -> float | None:
        """Return after how many seconds botocore repeats the request; None when it does not.

        The signature is that of botocore's event C(needs-retry).
        """
        reason, busy = failure(response, caught_exception, attempts)
        seconds, quitting = self._limits()
        if not reason or (quitting is not None and quitting.is_set()):
            return None
        context = {} if request_dict is None else request_dict.setdefault("context", {})
        now = time.monotonic()
        since = context.setdefault("failing_since", now)
        pause = next_pause(attempts, busy, random.random())
        if now + pause - since > seconds:
            return None
        name = getattr(operation, "name", "a request")
        self.tell(
            "%s to %s is tried again, for up to %s: %s" % (name, self._endpoint, format_duration(seconds), reason)
        )
        return pause

    def tell(self, line: str) -> None:
        """Show a line, unless the last one is only a moment old."""
        if self._show is None:
            return
        now = time.monotonic()
        with self._lock:
            if self._last_line and now - self._last_line < _EVERY_SECONDS:
                return
            self._last_line = now
        self._show("authentik recovery: %s" % line)


def next_pause(attempts: int, busy: bool, chance: float) -> float:
    """Return the seconds before the next attempt: twice as many each time, bounded, and not the same for everybody.

    :param attempts: how many there were.
    :param busy: the endpoint asked for less.
    :param chance: from 0 to 1.
    """
    first = _FIRST_PAUSE_SECONDS * (5 if busy else 1)
    return min(first * 2.0 ** (min(attempts, 20) - 1), _LONGEST_PAUSE_SECONDS) * (0.5 + chance / 2)


def failure(response: t.Any, exc: BaseException | None, attempts: int) -> tuple[str, bool]:
    """Return why a request should be repeated, empty when it should not, and whether the endpoint is busy.

    :param response: the pair of botocore, or None.
    :param attempts: how many there were.
    """
    if exc is not None:
        return (_passing_reason(exc), False)
    if response is None:
        return ("", False)
    parsed = response[1] if isinstance(response[1], dict) else {}
    code = str((parsed.get("Error") or {}).get("Code", ""))
    status = int((parsed.get("ResponseMetadata") or {}).get("HTTPStatusCode", 0))
    passes = code in _PASSING or status in _PASSING_STATUS or (code in _DAMAGED and attempts < _DAMAGED_ATTEMPTS)
    busy = code in _BUSY or status == 429
    if not (passes or busy):
        return ("", False)
    return (
        "it answered %s" % (code or status) + (" (status %d)" % status if code and code != str(status) else ""),
        busy,
    )


def _passing_reason(exc: BaseException) -> str:
    import botocore.exceptions as known
    from botocore.parsers import ResponseParserError

    text = reason_of(exc)
    passing = (known.ConnectionError, known.HTTPClientError, ResponseParserError)
    if not isinstance(exc, passing) or any(sign in text for sign in _LASTING):
        return ""
    return text[:300]
