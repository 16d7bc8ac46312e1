# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""A backup set that is not finished, with its owner and component records."""

from __future__ import annotations

import datetime
import json
import os
import socket
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
    format_utc,
    parse_utc,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._age import encrypt_bytes
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._encrypted import StoreSink
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._folder import Folder

_OWNER = ".owner.json"
_RECORDS = ".components"
_HEARTBEAT_SECONDS = 10
# Another machine's process cannot be looked at: only a very long silence proves it dead.
_SILENCE_SECONDS = 24 * 3600
_OWNERLESS_SECONDS = 60


def process_start(pid: int) -> str:
    """Return what tells this process from a later one of the same number; empty when it does not run."""
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
        # Where nothing reaps orphans, as in containers, the dead stay in the table.
        return "" if fields[0] in ("Z", "X") else fields[19]
    except FileNotFoundError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "running"


def playbook_pid() -> int:
    """Return the process id of the playbook run: action plugins run in children of it."""
    return os.getppid()


def lives(owner: dict[str, t.Any], age: float, silence: int) -> bool:
    """Tell whether the process that an owner file names may still be at work.

    :param owner: C(host), C(pid) and C(start).
    :param age: seconds since the file was changed last.
    :param silence: seconds after which a process of another machine counts as dead: it cannot be looked at.
    """
    if owner.get("host") == socket.gethostname():
        return isinstance(owner.get("pid"), int) and process_start(owner["pid"]) == owner.get("start") != ""
    return age < silence


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
        owner = {"host": socket.gethostname(), "pid": pid, "start": process_start(pid), "started": format_utc(now)}
        owner["recipients"] = list(recipients)
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

    def alive(self) -> bool:
        """Tell whether a playbook run may still be writing into the set."""
        age = self.folder.age(_OWNER)
        if age is not None:
            try:
                return lives(self._owner(), age, _SILENCE_SECONDS)
            except IntegrityError:
                pass
        # When it begins and ends, a set has no owner for a moment.
        age = self.folder.age()
        return age is not None and age < _OWNERLESS_SECONDS

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
