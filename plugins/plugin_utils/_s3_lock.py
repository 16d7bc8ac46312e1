# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The lock on the sets of one instance in a bucket: an object.

It says who holds it, and by its age that its owner lives.

Where the endpoint honours conditions on writing, of two who write it at the same moment one is refused. Elsewhere who
wrote last has it: each looks again after a while, and only who finds its own content goes on.
"""

from __future__ import annotations

import json
import secrets
import shlex
import time
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._folder_s3 import Prefix
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._liveness import lives
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._lock import (
    LOCK_NAME,
    SILENCE_SECONDS,
    describe,
    new_owner,
    refusal,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_errors import ConditionError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_small import conditions, get_small, put_small

_LIMIT = 65536
# Longer than a write of a few bytes is on its way.
_SETTLE_SECONDS = 3.0


class ObjectLock:
    """The lock, as a context manager.

    :param sets: the prefix of the instance.
    :param what: what the owner does, for whoever has to wait.
    :ivar taken_over: the dead owner from whom it was taken; empty when there was none.
    """

    def __init__(self, sets: Prefix, what: str) -> None:
        self._sets = sets
        self._owner = dict(new_owner(what), token=secrets.token_hex(8))
        self._etag = ""
        self._replaces = False
        self.taken_over = ""

    def __enter__(self) -> ObjectLock:
        known = conditions(self._sets.client, self._sets.place)
        self._replaces = known.replace
        there = get_small(self._sets.client, self._sets.place, LOCK_NAME, _LIMIT)
        before = _parsed(there.data) if there else {}
        if there:
            age = self._sets.age(LOCK_NAME) or 0.0
            if before and lives(before, age, SILENCE_SECONDS):
                raise self._refusal(before, age)
        try:
            self._put(there.etag if there else "", known.create and not there)
        except ConditionError as exc:
            raise self._refusal(self._present(), 0.0) from exc
        if not (known.replace if there else known.create):
            time.sleep(_SETTLE_SECONDS)
        if not self._is_ours():
            raise self._refusal(self._present(), 0.0)
        self.taken_over = describe(before) if before else ""
        return self

    def __exit__(self, *exc: object) -> None:
        if self._is_ours():
            self._sets.delete(LOCK_NAME)

    def beat(self) -> None:
        """Say that the owner lives.

        :raises StateError: when somebody took it for dead: then nothing may be removed any more.
        """
        if not self._is_ours():
            raise self._refusal(self._present(), 0.0)
        try:
            self._put(self._etag, False)
        except ConditionError as exc:
            raise self._refusal(self._present(), 0.0) from exc

    def _put(self, etag: str, if_absent: bool) -> None:
        # Unlike any other content: what a lost answer left is known by it.
        data = json.dumps(dict(self._owner, beat=secrets.token_hex(8))).encode("ascii")
        self._etag = put_small(
            self._sets.client,
            self._sets.place,
            LOCK_NAME,
            data,
            if_absent=if_absent,
            if_etag=etag if self._replaces else "",
        )

    def _present(self) -> dict[str, t.Any]:
        there = get_small(self._sets.client, self._sets.place, LOCK_NAME, _LIMIT)
        return _parsed(there.data) if there else {}

    def _is_ours(self) -> bool:
        return self._present().get("token") == self._owner["token"]

    def _refusal(self, owner: dict[str, t.Any], silent: float) -> Exception:
        where = self._sets.at(LOCK_NAME)
        return refusal(self._sets.location, owner, silent, "aws s3 cp %s -" % shlex.quote(where))


def _parsed(data: bytes) -> dict[str, t.Any]:
    """Return the owner that the object names, empty when it names none."""
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
