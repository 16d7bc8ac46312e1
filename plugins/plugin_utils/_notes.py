# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What became known of a set since it was made, in small files beside it: the set itself is read-only.

C(<id>.verified.json) holds the latest outcome of each level of verification, C(<id>.pinned.json) why the set is kept.
"""

from __future__ import annotations

import datetime
import json
import re
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import RecoveryError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import ID_PATTERN, format_utc, is_id
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._facts import collection_version
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._folder import Folder

#: Each level proves what the ones before it prove, and more.
LEVELS = ("checksums", "decode", "restore")
PASSED, FAILED, UNPROVED = "passed", "failed", "unproved"

_VERIFIED, _PINNED = ".verified.json", ".pinned.json"
_ACCEPTED = ".shrink-accepted.json"
_NAME = re.compile("(%s)(?:%s|%s)" % (ID_PATTERN, re.escape(_VERIFIED), re.escape(_PINNED)))


def note_of(name: str) -> str:
    """Return the id of the set that a file of this name says something about; empty when it is no such file."""
    match = _NAME.fullmatch(name)
    return match.group(1) if match else ""


def new_check(
    level: str, now: datetime.datetime, manifest_sha256: str, error: str = "", unproved: bool = False
) -> dict[str, t.Any]:
    """Return the record of one verification.

    :param manifest_sha256: of the manifest that was read, so that the record says nothing about another one.
    :param error: why it is not proved; empty when it is.
    :param unproved: nothing is known to be wrong: the verification itself could not be done.
    """
    record: dict[str, t.Any] = {
        "level": level,
        "time": format_utc(now),
        "ok": not error,
        "manifest_sha256": manifest_sha256,
        "collection": collection_version(),
    }
    if error:
        record.update(error=error, unproved=unproved)
    return record


def outcome_of(check: dict[str, t.Any]) -> str:
    """Return C(passed), C(failed) or C(unproved)."""
    if check.get("ok") is True:
        return PASSED
    return UNPROVED if check.get("unproved") is True else FAILED


def failure_of(checks: t.Iterable[dict[str, t.Any]]) -> dict[str, t.Any] | None:
    """Return the record of a verification that found damage, None when there is none."""
    return next((check for check in checks if outcome_of(check) == FAILED), None)


def proved(checks: t.Iterable[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Return the records of what was proved, the highest level last."""
    return sorted((check for check in checks if outcome_of(check) == PASSED), key=_rank)


def merged(checks: t.Iterable[dict[str, t.Any]], new: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    """Return the records with a new one, which takes the place of those that it makes void.

    What passed at one level disproves failures of the levels below, which it read once more. A verification that could
    not be done disproves nothing.
    """
    rank, outcome = _rank(new), outcome_of(new)
    kept = []
    for check in checks:
        same, void = _rank(check) == rank, outcome_of(check) != PASSED and _rank(check) <= rank
        if outcome == UNPROVED:
            void = same = same and outcome_of(check) == UNPROVED
        elif outcome == FAILED:
            void = void and outcome_of(check) == UNPROVED
        if not (same or void):
            kept.append(check)
    return sorted([*kept, new], key=_rank)


def _rank(check: dict[str, t.Any]) -> int:
    return LEVELS.index(check["level"])


class Notes:
    """The notes beside the sets in a folder.

    :param folder: where the sets of one instance lie.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def checks(self, set_id: str, manifest_sha256: str) -> list[dict[str, t.Any]]:
        """Return what is recorded about a set that has this manifest.

        What cannot be read, or is about another manifest, proves nothing. A failure without a manifest still counts.
        """
        found = self._read(set_id + _VERIFIED)
        checks = found.get("checks") if isinstance(found, dict) else None
        return [
            check
            for check in (checks if isinstance(checks, list) else [])
            if isinstance(check, dict)
            and check.get("level") in LEVELS
            and isinstance(check.get("time", ""), str)
            and check.get("manifest_sha256", None if outcome_of(check) != FAILED else manifest_sha256)
            == manifest_sha256
        ]

    def save_check(self, set_id: str, check: dict[str, t.Any]) -> None:
        """Add a record to those about the same manifest."""
        checks = merged(self.checks(set_id, check["manifest_sha256"]), check)
        self._write(set_id + _VERIFIED, {"id": set_id, "checks": checks})

    def pin(self, set_id: str) -> str:
        """Return why a set is kept; empty when it is not pinned. A pin that cannot be read is one."""
        try:
            if self._folder.read(set_id + _PINNED) is None:
                return ""
        except RecoveryError:
            pass
        found = self._read(set_id + _PINNED)
        reason = found.get("reason") if isinstance(found, dict) else None
        return reason if isinstance(reason, str) and reason else "for a reason that cannot be read"

    def save_pin(self, set_id: str, reason: str, now: datetime.datetime) -> None:
        """Keep a set until its pin is removed, which an empty reason does."""
        if reason:
            self._write(set_id + _PINNED, {"id": set_id, "reason": reason, "time": format_utc(now)})
        else:
            self._folder.delete(set_id + _PINNED)

    def forget(self, set_id: str) -> None:
        """Remove all notes about a set."""
        for suffix in (_VERIFIED, _PINNED):
            self._folder.delete(set_id + suffix)

    def accepted(self) -> str:
        """Return the id of the newest set whose losses somebody accepted; empty when there is none."""
        found = self._read(_ACCEPTED)
        set_id = found.get("id") if isinstance(found, dict) else None
        return set_id if isinstance(set_id, str) and is_id(set_id) else ""

    def save_accepted(self, set_id: str, now: datetime.datetime) -> None:
        """Accept what sets up to this one lost. It outlives the set."""
        self._write(_ACCEPTED, {"id": set_id, "time": format_utc(now)})

    def _read(self, name: str) -> t.Any:
        """Return what a note says; None when there is none, or it cannot be read."""
        try:
            return json.loads(self._folder.read(name) or b"null")
        except (RecoveryError, ValueError):
            return None

    def _write(self, name: str, content: dict[str, t.Any]) -> None:
        text = json.dumps(content, indent=1, sort_keys=True) + "\n"
        self._folder.write(name, text.encode("ascii"))
