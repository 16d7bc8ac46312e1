# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``python -m tests.engine.mutants``: the collection broken on purpose, to see that the engine is not blind.

SEED and STEPS as for the engine; MUTANT chooses one. The last line tells how many were found. Most are found within
150 steps of seed 1; a few are tried by ``make test``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".collections"))


def table() -> dict[str, Callable[[], list[Any]]]:
    """Return the ways to break it: what each does, and what makes its patches."""
    from ansible_collections.authentik_ops.recovery.plugins.action import authentik_backup_set_copy, authentik_prune
    from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import (
        _backend,
        _copy,
        _lock,
        _notes,
        _prune,
        _reading,
        _removal,
        _retention,
        _store,
        _writer,
    )

    def attr(owner: Any, name: str, value: Any) -> Callable[[], list[Any]]:
        return lambda: [mock.patch.object(owner, name, value)]

    real_plan, real_candidate = _retention.plan, _prune.candidate

    def unpinned(backup_set: Any) -> Any:
        return dataclasses.replace(real_candidate(backup_set), pinned="")

    def fewer(candidates: Any, policy: Any, now: Any) -> Any:
        minimum = max(policy.minimum_verified - 1, 0)
        return real_plan(candidates, dataclasses.replace(policy, minimum_verified=minimum), now)

    def newest_first(self: Any) -> list[str]:
        return sorted((one.set_id for one in self.verdicts if not one.keeps), reverse=True)

    def in_place(self: Any, set_id: str) -> None:
        self._backend.folder(set_id).remove()
        self._notes.forget(set_id)

    def shared(self: Any, set_id: str) -> None:
        # What others link to is emptied with its first owner.
        for folder, _folders, names in os.walk(self.sets.at(set_id)):
            for name in names:
                path = os.path.join(folder, name)
                if os.stat(path).st_nlink > 1:
                    os.chmod(path, 0o600)
                    os.truncate(path, 0)
        os.rename(self.sets.at(set_id), self.sets.at(set_id) + ".deleting")

    def early(self: Any, set_id: str, manifest: bytes) -> None:
        # The name comes before the manifest.
        os.rename(self.sets.at(set_id + ".partial"), self.sets.at(set_id))
        self.sets.child(set_id).write("manifest.json", manifest, 0o400)

    def no_sums(*_args: Any) -> None:
        return None

    return {
        "prune ignores pins": lambda: [
            mock.patch.object(_prune, "candidate", unpinned),
            mock.patch.object(authentik_prune.ActionModule, "_delete", _delete_all),
        ],
        "the minimum is one less": attr(_retention, "plan", fewer),
        "the newest goes first": attr(_prune.Plan, "going", property(newest_first)),
        "a set is removed without losing its name first": attr(_removal.SetRemoval, "remove", in_place),
        "what is linked goes with its first owner": attr(_backend.DirectoryBackend, "hide", shared),
        "the name comes before the manifest": attr(_backend.DirectoryBackend, "commit", early),
        "the sizes of artifacts are not looked at": attr(_reading, "check_stored_files", no_sums),
        "the checksum of the manifest is not looked at": attr(_reading, "check_sums", no_sums),
        "a failed verification is not heeded": attr(_reading, "failure_of", lambda _checks: None),
        "nothing is read back": attr(_store, "read_back", no_sums),
        "the lock holds nobody": lambda: [
            mock.patch.object(_lock, "_take", return_value=True),
            mock.patch.object(_lock, "lives", return_value=False),
        ],
        "a backup that is made is no reason not to prune": attr(_prune, "refuse_while_written", no_sums),
        "losses are not seen": attr(_prune, "shrunk", lambda *_args: []),
        "an unproved newest set is no obstacle": attr(_prune, "_unproved", lambda *_args: []),
        "what is not verified counts": attr(_prune, "is_verified", lambda _set: True),
        "a set whose id the clock made older": attr(_store, "new_id", _clock_id),
        "living sets are cleared": attr(_store.PartialSet, "alive", lambda _self, _silence=0: False),
        "a second writer is not refused": attr(_writer, "_refuse_second", no_sums),
        "dead sets are not cleared": attr(_writer, "clear_dead", lambda _backend: []),
        "notes outlive their set": attr(_notes.Notes, "forget", lambda *_args: None),
        "a damaged set is copied": lambda: [
            mock.patch.object(_copy, "copy", _copy_blindly),
            mock.patch.object(_store.Store, "adopt", _adopt_blindly),
        ],
        "a copy takes the place of what is there": attr(authentik_backup_set_copy, "is_there", _make_room),
        "a copy loses its pin": attr(_copy, "Notes", mock.Mock()),
    }


def _delete_all(self: Any, store: Any, going: list[str], lock: Any, deleted: list[str]) -> None:
    for set_id in going:
        if lock:
            store.removal().remove(set_id)
        deleted.append(set_id)


def _adopt_blindly(self: Any, partial: Any, text: bytes, now: Any) -> Any:
    return self._make_visible(partial, text, now, 0.0)


def _copy_blindly(artifact: dict[str, Any], origin: Any, target: Any, _beat: Any) -> None:
    with target.sink().artifact(artifact["path"]) as out:
        out.write(origin.read(artifact["path"]) or b"")


def _make_room(backup_set: Any, target: Any) -> bool:
    target.backend.folder(backup_set.set_id).remove()
    return False


def _clock_id(now: Any, entropy: bytes, after: str = "") -> str:
    return "%s-%s" % (now.strftime("%Y%m%dT%H%M%SZ"), entropy[:2].hex())


def found_at(patches: list[Any], seed: int, steps: int) -> tuple[int, str]:
    """Return the step at which the engine finds something, and what; 0 when it finds nothing."""
    from tests.engine.run import Run, in_memory

    folder = Path(tempfile.mkdtemp(prefix="mutant-", dir=in_memory()))
    try:
        with contextlib.ExitStack() as stack:
            for patch in patches:
                stack.enter_context(patch)
            run = Run(folder, seed)
            played = run.play(steps)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return (played, run.violations[0].splitlines()[1].strip()) if run.violations else (0, "")


def main() -> int:
    """Break it in each way, and return 0 when all were found."""
    seed, steps = int(os.environ.get("SEED") or 1), int(os.environ.get("STEPS") or 2000)
    ways, missed = table(), 0
    chosen = [name for name in ways if os.environ.get("MUTANT", "") in name]
    for name in chosen:
        step, what = found_at(ways[name](), seed, steps)
        missed += not step
        print("%-52s %s" % (name, "step %4d: %s" % (step, what[:110]) if step else "NOT FOUND"), flush=True)
    print("mutants: %d, found: %d" % (len(chosen), len(chosen) - missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
