# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""A backup set that is not finished, with its owner and component records."""

from __future__ import annotations

import datetime
import json
import time
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    IntegrityError,
    RecoveryError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._manifest import (
    MANIFEST_NAME,
    SEAL_NAME,
    sums_line,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import (
    check_id,
    format_duration,
    format_utc,
    parse_utc,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._age import encrypt_bytes
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._encrypted import StoreSink
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._folder import Folder
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._liveness import lives, owner_of

_OWNER = ".owner.json"
_RECORDS = ".components"
_HEARTBEAT_SECONDS = 10
# Another machine's process cannot be looked at: only a very long silence proves it dead.
_SILENCE_SECONDS = 24 * 3600
_OWNERLESS_SECONDS = 60


class PartialSet:
    """What tasks write while a set is made.

    :param folder: where it lies.
    :param set_id: the id under which it will be published.
    """

    def __init__(self, folder: Folder, set_id: str) -> None:
        self.folder = folder
        self.set_id = check_id(set_id)
        self._beat = 0.0

    @property
    def path(self) -> str:
        """What an operator calls its folder."""
        return self.folder.location

    def claim(self, now: datetime.datetime, pid: int, recipients: t.Sequence[str] = ()) -> None:
        """Begin the set, for the playbook run with this process id.

        :param recipients: public keys that everything in it is encrypted to, as they were checked.
        :raises RecoveryError: when the store does not accept it; nothing is left then.
        """
        owner = {**owner_of(pid), "started": format_utc(now), "recipients": list(recipients)}
        try:
            self.folder.write(_OWNER, json.dumps(owner).encode("ascii"))
        except BaseException:
            self.folder.remove()
            raise

    @property
    def started(self) -> datetime.datetime:
        """When the set was opened."""
        return parse_utc(self._owner()["started"])

    @property
    def recipients(self) -> list[str]:
        """The public keys that everything in the set is encrypted to; none for a plain set."""
        return list(self._owner()["recipients"])

    def alive(self, silence: int = _SILENCE_SECONDS) -> bool:
        """Tell whether a playbook run may still be writing into the set.

        :param silence: seconds after which one on another machine counts as dead.
        """
        age = self.folder.age(_OWNER)
        if age is not None:
            try:
                return lives(self._owner(), age, silence)
            except IntegrityError:
                pass
        # When it begins and ends, a set has no owner for a moment.
        age = self.folder.age()
        return age is not None and age < _OWNERLESS_SECONDS

    def writer(self) -> str:
        """Return who writes the set, as an operator reads it."""
        age = self.folder.age(_OWNER)
        if age is None:
            return "a run that has just begun, or is about to end"
        try:
            owner = self._owner()
        except IntegrityError:
            return "a run that cannot be told"
        return "process %s on %s, since %s, which was seen %s ago" % (
            *(owner[name] for name in ("pid", "host", "started")),
            format_duration(age),
        )

    def heartbeat(self) -> None:
        """Say that the set is being written; cheap enough to call often."""
        now = time.monotonic()
        if now - self._beat > _HEARTBEAT_SECONDS:
            self._beat = now
            self.folder.touch(_OWNER)

    def sink(self) -> StoreSink:
        """Return what writes artifacts into the set."""
        return StoreSink(self.folder.sink(), self.recipients)

    def save_record(self, record: dict[str, t.Any], artifacts: list[dict[str, t.Any]]) -> None:
        """Keep a component's record and the manifest entries of its artifacts until the set is published."""
        content = json.dumps({"record": record, "artifacts": artifacts}).encode("ascii")
        self.folder.write("%s/%s.json" % (_RECORDS, record["component"]), content)

    def records(self) -> dict[str, dict[str, t.Any]]:
        """Return C({component: {"record": ..., "artifacts": [...]}}) of what was saved so far."""
        folder = self.folder.child(_RECORDS)
        found = {}
        for name in sorted(folder.names()):
            if name.endswith(".json") and not name.startswith("."):
                found[name[: -len(".json")]] = json.loads(folder.read(name) or b"")
        return found

    def seal(self, text: bytes) -> bytes:
        """Write the checksum of the manifest, encrypted to the set's recipients, and return what was written."""
        seal = encrypt_bytes(sums_line(text, MANIFEST_NAME), self.recipients)
        self.folder.write(SEAL_NAME, seal, 0o400)
        return seal

    def link(self, previous: Folder, artifact: dict[str, t.Any]) -> None:
        """Take an artifact over from a published set.

        :param previous: folder of the published set.
        :param artifact: its entry in that set's manifest.
        :raises IntegrityError: when the previous artifact is no longer what it was.
        """
        self.folder.take(artifact, previous)

    def drop_working_files(self) -> None:
        """Remove what only tasks need, just before the set is published."""
        self.folder.child(_RECORDS).remove()
        self.folder.delete(_OWNER)

    def files(self) -> list[str]:
        """Return the relative paths of all artifacts that lie in the set."""
        return sorted(path for path in self.folder.files() if "/" in path and not path.startswith("."))

    def discard(self) -> bool:
        """Remove everything; tell whether there was anything."""
        return self.folder.remove()

    def _owner(self) -> dict[str, t.Any]:
        path = self.folder.at(_OWNER)
        try:
            found = json.loads(self.folder.read(_OWNER) or b"")
        except (RecoveryError, ValueError) as exc:
            raise IntegrityError("The owner of the unfinished set cannot be read from %s: %s" % (path, exc)) from exc
        if not isinstance(found, dict) or not {"host", "pid", "start", "started"} <= set(found):
            raise IntegrityError("%s was not written by this collection" % path)
        return {"recipients": [], **found}
