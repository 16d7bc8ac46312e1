# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Replaces the content of a running Redis server by that of a backup set, with a way back.

Four steps: :func:`check` reads and compares and changes nothing; :func:`prepare` keeps the artifact and the present
content on the host; :func:`swap` empties the databases and puts the keys; :func:`undo` puts back what was there.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _files, _mounts, _space
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    IntegrityError,
    RecoveryError,
    SpaceError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis import _plan
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._client import Client, address
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._load import (
    compare_counts,
    load,
    load_functions,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._rdb import RdbReader
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._server import read_facts
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._snapshot import (
    ARTIFACT,
    Tee,
    take_snapshot,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._work_folder import (
    BEFORE,
    NEW,
    PREPARED,
    SWAPPED,
    SWAPPING,
    WorkFolder,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import format_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import RedisSettings

# Emptying a large database, and taking a large value, keep the server busy; it answers nobody meanwhile.
_BUSY_SECONDS = 900.0
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Request:
    """What to restore where.

    :param settings: the server, and which of its databases belong to the instance.
    :param databases: the ones to restore; None for the instance's.
    :param limit: seconds that saving the present content may take.
    """

    settings: RedisSettings
    databases: list[int] | None
    limit: float

    @property
    def chosen(self) -> list[int]:
        """The databases that are emptied and filled. Others in the set are those of whatever shares the server."""
        return sorted(set(self.databases or self.settings.databases))


def check(request: Request, source: Any, manifest: dict[str, Any], work_dir: str) -> dict[str, Any]:
    """Read the artifact to its last byte, compare it with the manifest and the server; return the plan.

    :param work_dir: where step prepare would keep both contents; what it needs there is ``space``.
    """
    with source.artifact(ARTIFACT) as inp:
        contents = _plan.read_contents(inp)
    result = _compare(request, contents, manifest)
    with Client(request.settings) as client:
        needed = _stored(manifest) + read_facts(client).used_memory
    what = "Redis, as it is and as it shall be,"
    return dict(result, space=[_space.part("redis", what, _mounts.file_system(work_dir), needed)])


def _stored(manifest: dict[str, Any]) -> int:
    return next(int(item["size"]) for item in manifest["artifacts"] if item["path"] == ARTIFACT)


def compare_with_manifest(contents: _plan.Contents, manifest: dict[str, Any]) -> None:
    """:raises IntegrityError: the dump holds something else than the manifest says."""
    recorded, found = manifest["components"]["redis"]["fingerprint"], contents.summary.fingerprint()
    # The server takes a checksum of zeros for none: a dump that had one has to have it still.
    for name in ("rdb_version", "checksum", "keys", "expiring", "functions"):
        if recorded.get(name) != found[name]:
            raise IntegrityError(
                "The dump %s has %s %s, the manifest says %s." % (ARTIFACT, name, found[name], recorded.get(name)),
                "The set contradicts itself; use another one.",
            )


def _compare(request: Request, contents: _plan.Contents, manifest: dict[str, Any]) -> dict[str, Any]:
    summary = contents.summary
    compare_with_manifest(contents, manifest)
    databases = request.chosen
    with Client(request.settings) as client:
        functions = _plan.takes_functions(contents, read_facts(client), databases)
        target = _plan.read_target(client, databases, functions)
    blockers = _plan.blockers(contents, target)
    if blockers:
        raise StateError(" ".join(error.cause for error in blockers), blockers[0].hint)
    expired = contents.expired(target.now_ms)
    return {
        "changed": False,
        "plan": _plan.sentences(contents, target, databases),
        "warnings": _plan.warnings(contents, target, databases, request.settings.databases),
        "databases": databases,
        "functions": functions,
        "keys": {str(db): summary.keys.get(db, 0) - expired.get(db, 0) for db in databases},
        "keys_expired": {str(db): expired.get(db, 0) for db in databases},
        "keys_present": {str(db): target.facts.keys.get(db, 0) for db in databases},
    }


def prepare(request: Request, source: Any, manifest: dict[str, Any], folder: WorkFolder) -> dict[str, Any]:
    """Keep the artifact and a snapshot of the present content in the work folder. The server is not changed."""
    state = folder.read()
    if state is not None and state["phase"] != PREPARED:
        raise StateError(
            "This restore has already begun to replace the content of Redis (%s)." % folder.path, "Run step undo first."
        )
    with Client(request.settings) as client:
        used = read_facts(client).used_memory
    size = _stored(manifest)
    free = _files.free_bytes(folder.path)
    if free < size + used:
        raise SpaceError(
            "%s has %s free; the dump (%s) and the present content (at most %s) do not fit."
            % (folder.path, format_bytes(free), format_bytes(size), format_bytes(used)),
            "Free space there, or name another folder in work_dir.",
        )
    folder.make()
    with source.artifact(ARTIFACT) as inp, folder.new_file(NEW) as out:
        contents = _plan.read_contents(Tee(inp, out))
    result = _compare(request, contents, manifest)
    before, method = _keep_present(request, folder)
    folder.write(
        {
            "phase": PREPARED,
            "server": address(request.settings),
            "databases": result["databases"],
            "functions": result["functions"],
            "new": out.sha256,
            "before": before,
        }
    )
    return dict(result, changed=True, work_folder=folder.path, method=method)


def _keep_present(request: Request, folder: WorkFolder) -> tuple[str, str]:
    """Save what the server holds now as BEFORE; return its SHA-256 and the method that worked."""
    problems: list[RecoveryError] = []
    for method in ("replication", "bgsave"):
        try:
            with folder.new_file(BEFORE) as out:
                take_snapshot(request.settings, out, method, request.limit)
            return out.sha256, method
        except SpaceError:
            raise
        except RecoveryError as error:
            problems.append(error)
    raise StateError(
        "The present content of Redis cannot be kept, so there would be no way back. By replication: %s By bgsave: %s"
        % (problems[0].cause, problems[1].cause),
        problems[0].hint,
    )


def swap(request: Request, folder: WorkFolder) -> dict[str, Any]:
    """Empty the databases and put the keys of the set; whatever goes wrong, put back what was there.

    Called again after it was killed, it begins again and keeps the first snapshot of the content before.
    """
    state = _state_for(request, folder)
    if state["phase"] == SWAPPED:
        return _swap_result(state, changed=False)
    _verify(folder, NEW, state["new"])
    if state["phase"] == PREPARED:
        # Written to since step prepare, perhaps: what undo puts back is what was there last.
        state["before"], _method = _keep_present(request, folder)
        state["phase"] = SWAPPING
        folder.write(state)
    started = time.monotonic()
    try:
        state["keys"], state["keys_expired"] = _replace(request, folder, NEW, state)
    except BaseException as error:
        _back_out(request, folder, state, error)
        raise
    state["phase"] = SWAPPED
    state["seconds"] = round(time.monotonic() - started, 3)
    folder.write(state)
    return _swap_result(state, changed=True)


def _swap_result(state: dict[str, Any], changed: bool) -> dict[str, Any]:
    return {"changed": changed, **{name: state[name] for name in ("databases", "keys", "keys_expired", "seconds")}}


def _back_out(request: Request, folder: WorkFolder, state: dict[str, Any], error: BaseException) -> None:
    """Put the content before back after a failed swap, and say so in the error."""
    try:
        _put_back(request, folder, state)
    except RecoveryError as second:
        if isinstance(error, RecoveryError):
            error.cause += " Putting the previous content back failed too: %s" % second.cause
            error.hint = "%s The previous content is safe in %s: run step undo." % (second.hint, folder.file(BEFORE))
        return
    if isinstance(error, RecoveryError):
        error.cause += " The previous content of Redis was put back."


def undo(request: Request, folder: WorkFolder) -> dict[str, Any]:
    """Put back what was there before the swap, if that had begun, and remove what was prepared. Idempotent."""
    state = folder.read()
    put_back: dict[str, int] = {}
    if state is not None and state["phase"] != PREPARED:
        put_back = _put_back(request, folder, _state_for(request, folder))
    return {"changed": folder.remove(), "keys": put_back}


def outlook(folder: WorkFolder, step: str) -> dict[str, Any]:
    """Return what swap or undo would do with what is prepared; nothing is changed."""
    state = folder.read()
    phase = state["phase"] if state else ""
    if step == "undo":
        if not state:
            return {"changed": False, "plan": ["Redis: nothing was prepared or swapped, nothing to undo."]}
        if phase == PREPARED:
            return {"changed": True, "plan": ["Redis: what was prepared in %s is removed." % folder.path]}
        return {"changed": True, "plan": ["Redis databases %s: the content before is put back." % state["databases"]]}
    if not state:
        return {"changed": False, "plan": ["Redis: nothing was prepared for this restore yet."]}
    if phase == SWAPPED:
        return {"changed": False, "plan": ["Redis: the content of the set is in place already."]}
    return {"changed": True, "plan": ["Redis databases %s are emptied and filled." % state["databases"]]}


def _put_back(request: Request, folder: WorkFolder, state: dict[str, Any]) -> dict[str, int]:
    _verify(folder, BEFORE, state["before"])
    keys, _expired = _replace(request, folder, BEFORE, state)
    # From here on a second undo must not touch the server again.
    folder.write({**state, "phase": PREPARED})
    return keys


def _state_for(request: Request, folder: WorkFolder) -> dict[str, Any]:
    state = folder.prepared()
    where = address(request.settings)
    if state["server"] != where:
        raise StateError(
            "This restore was prepared for Redis at %s, not for %s." % (state["server"], where),
            "Give the same redis options as in step prepare.",
        )
    return state


def _verify(folder: WorkFolder, name: str, sha256: str) -> None:
    """Read a kept file before anything is emptied for it."""
    digest = hashlib.sha256()
    path = folder.file(name)
    try:
        with open(path, "rb") as stream:
            for block in iter(lambda: stream.read(_BLOCK), b""):
                digest.update(block)
    except OSError as error:
        raise _files.as_error("read", path, error) from error
    if digest.hexdigest() != sha256:
        raise IntegrityError("%s was altered since it was kept there. Redis was not touched." % path)


def _replace(
    request: Request, folder: WorkFolder, name: str, state: dict[str, Any]
) -> tuple[dict[str, int], dict[str, int]]:
    """Make the databases equal to the kept file *name*; return keys per database, put and left out as expired."""
    databases: list[int] = state["databases"]
    with Client(request.settings, reply_seconds=_BUSY_SECONDS) as client, open(folder.file(name), "rb") as stream:
        for database in databases:
            client.select(database)
            client.command("FLUSHDB")
        reader = RdbReader(stream)
        loaded = load(client, reader, databases)
        if state["functions"]:
            load_functions(client, reader.summary.functions, reader.summary.version)
        counts = compare_counts(client, loaded, databases)
    return (
        {str(database): count for database, count in counts.items()},
        {str(database): loaded.expired.get(database, 0) for database in databases},
    )
