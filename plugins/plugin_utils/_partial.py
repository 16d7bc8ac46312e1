# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""A backup set that is not finished: C(<id>.partial) in the store, with its owner and component records."""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import os
import shutil
import socket
import time
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    IntegrityError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import (
    BLOCK,
    DirectorySink,
    DirectorySource,
    as_error,
    fsync_directory,
    make_private_directories,
    write_private,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._manifest import (
    MANIFEST_NAME,
    SEAL_NAME,
    check_artifact_path,
    sums_line,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import (
    check_id,
    format_utc,
    parse_utc,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._age import encrypt_bytes
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._encrypted import StoreSink

PARTIAL_SUFFIX = ".partial"

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


def lives(owner: dict[str, t.Any], beat: float, silence: int) -> bool:
    """Tell whether the process that an owner file names may still be at work.

    :param owner: C(host), C(pid) and C(start).
    :param beat: when the file was changed last, in seconds since 1970.
    :param silence: seconds after which a process of another machine counts as dead: it cannot be looked at.
    """
    if owner.get("host") == socket.gethostname():
        return isinstance(owner.get("pid"), int) and process_start(owner["pid"]) == owner.get("start") != ""
    return abs(time.time() - beat) < silence


class PartialSet:
    """What tasks write while a set is made.

    :param path: the folder C(<store>/<instance>/<id>.partial).
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.set_id = check_id(os.path.basename(path)[: -len(PARTIAL_SUFFIX)])
        self._beat = 0.0

    @classmethod
    def create(cls, path: str, now: datetime.datetime, pid: int, recipients: t.Sequence[str] = ()) -> PartialSet:
        """Make the folder and claim it for the playbook run with this process id.

        :param recipients: public keys that everything in it is encrypted to, as they were checked.
        :raises RecoveryError: when the store does not accept it; nothing is left then.
        """
        make_private_directories(os.path.dirname(path))
        try:
            os.mkdir(path, 0o700)
        except OSError as exc:
            raise as_error("make the backup set", path, exc) from exc
        owner = {"host": socket.gethostname(), "pid": pid, "start": process_start(pid), "started": format_utc(now)}
        owner["recipients"] = list(recipients)
        try:
            write_private(os.path.join(path, _OWNER), json.dumps(owner).encode("ascii"))
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise
        return cls(path)

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
        try:
            owner = self._owner()
            beat = os.stat(os.path.join(self.path, _OWNER)).st_mtime
        except (IntegrityError, OSError):
            return self._changing()
        return lives(owner, beat, _SILENCE_SECONDS)

    def _changing(self) -> bool:
        """Tell whether the folder was changed just now: when it begins and ends, a set has no owner for a moment."""
        try:
            return abs(time.time() - os.stat(self.path).st_mtime) < _OWNERLESS_SECONDS
        except OSError:
            return False

    def heartbeat(self) -> None:
        """Say that the set is being written; cheap enough to call often."""
        now = time.monotonic()
        if now - self._beat > _HEARTBEAT_SECONDS:
            self._beat = now
            with contextlib.suppress(OSError):
                os.utime(os.path.join(self.path, _OWNER))

    def sink(self) -> StoreSink:
        """Return what writes artifacts into the set."""
        return StoreSink(self.path, self.recipients)

    def save_record(self, record: dict[str, t.Any], artifacts: list[dict[str, t.Any]]) -> None:
        """Keep a component's record and the manifest entries of its artifacts until the set is published."""
        folder = os.path.join(self.path, _RECORDS)
        make_private_directories(folder)
        content = json.dumps({"record": record, "artifacts": artifacts}).encode("ascii")
        write_private(os.path.join(folder, "%s.json" % record["component"]), content)

    def records(self) -> dict[str, dict[str, t.Any]]:
        """Return C({component: {"record": ..., "artifacts": [...]}}) of what was saved so far."""
        folder = os.path.join(self.path, _RECORDS)
        found = {}
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            if name.endswith(".json") and not name.startswith("."):
                with open(os.path.join(folder, name), encoding="ascii") as record:
                    found[name[: -len(".json")]] = json.load(record)
        return found

    def seal(self, text: bytes) -> bytes:
        """Write the checksum of the manifest, encrypted to the set's recipients, and return what was written."""
        seal = encrypt_bytes(sums_line(text, MANIFEST_NAME), self.recipients)
        write_private(os.path.join(self.path, SEAL_NAME), seal, 0o400)
        return seal

    def link(self, previous: str, artifact: dict[str, t.Any]) -> None:
        """Take an artifact over from a published set: a hard link, or a copy where links are not possible.

        :param previous: folder of the published set.
        :param artifact: its entry in that set's manifest.
        :raises IntegrityError: when the previous artifact is no longer what it was.
        """
        path = check_artifact_path(artifact["path"])
        source, target = os.path.join(previous, path), os.path.join(self.path, path)
        make_private_directories(os.path.dirname(target))
        try:
            os.link(source, target, follow_symlinks=False)
            fsync_directory(os.path.dirname(target))
        except OSError as exc:
            if exc.errno not in (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.EOPNOTSUPP):
                raise as_error("link the unchanged artifact", source, exc) from exc
            self._copy(previous, artifact)

    def drop_working_files(self) -> None:
        """Remove what only tasks need, just before the set is published."""
        shutil.rmtree(os.path.join(self.path, _RECORDS), ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.path, _OWNER))

    def files(self) -> list[str]:
        """Return the relative paths of all artifacts that lie in the set."""
        found = []
        for folder, _folders, names in os.walk(self.path):
            relative = os.path.relpath(folder, self.path)
            if relative != "." and not relative.startswith("."):
                found += [os.path.join(relative, name) for name in names]
        return sorted(found)

    def discard(self) -> bool:
        """Remove everything; tell whether there was anything."""
        existed = os.path.isdir(self.path)
        if existed:
            try:
                shutil.rmtree(self.path)
            except OSError as exc:
                raise as_error("remove the unfinished backup set", self.path, exc) from exc
        return existed

    def _copy(self, previous: str, artifact: dict[str, t.Any]) -> None:
        source, sink = DirectorySource(previous, [artifact]), DirectorySink(self.path, mode=0o400)
        with source.artifact(artifact["path"]) as inp, sink.artifact(artifact["path"]) as out:
            while True:
                data = inp.read(BLOCK)
                if not data:
                    break
                out.write(data)

    def _owner(self) -> dict[str, t.Any]:
        path = os.path.join(self.path, _OWNER)
        try:
            with open(path, encoding="ascii") as owner:
                found = json.load(owner)
        except (OSError, ValueError) as exc:
            raise IntegrityError("The owner of the unfinished set cannot be read from %s: %s" % (path, exc)) from exc
        if not isinstance(found, dict) or not {"host", "pid", "start", "started"} <= set(found):
            raise InputError("%s was not written by this collection" % path)
        return {"recipients": [], **found}
