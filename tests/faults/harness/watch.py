"""What must hold after every fault. Of the collection only ``list`` takes part, which is judged too."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tests.faults.harness.lab import KEPT, Lab
from tests.faults.harness.runs import TOOLS, Run, all_processes
from tests.support.site import NAME

#: What shows the content of a file, by the end of its name.
_DECODE = {"zst": "zstd -qdc", "gz": "gzip -dc", "dump": "cat", "tar": "cat", "rdb": "cat", "sql": "cat", "md": "cat"}
_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{4}")
#: What a killed controller leaves running on the host ends within this many seconds of the next run.
PATIENCE_SECONDS = 30.0


def which(lab: Lab) -> tuple[str, list[str]]:
    """Say whether the live instance is ``old`` or ``new``; else ``mixed``, with what differs from the old one."""
    databases = lab.instance.postgres.databases()
    if "authentik" not in databases:
        return "mixed", ["there is no database authentik: %s" % ", ".join(databases)]
    present = lab.state()
    from_old, from_new = lab.old.differences(present), lab.new.differences(present)
    if from_old and from_new:
        return "mixed", [
            "%s: %.160s" % (what, one)
            for what, found in (("not as it was", from_old), ("not as in the set", from_new))
            for one in found[:4]
        ]
    return ("new", []) if from_old else ("old", [])


class Sets:
    """The sets of a store, and what each was when it was first seen."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}

    def damage(self, lab: Lab) -> list[str]:
        """Read every set with sha256sum and pg_restore; sentences about all that is wrong."""
        found = []
        store = lab.site.store / NAME
        there = {path.name: path for path in (store.iterdir() if store.is_dir() else ()) if _ID.fullmatch(path.name)}
        for name in sorted(self._first.keys() - there.keys()):
            found.append("the set %s is gone" % name)
        for name, path in sorted(there.items()):
            problem = _read(lab, path)
            digest = _digest(path)
            if self._first.setdefault(name, digest) != digest:
                problem = problem or "it is not what it was"
            if problem:
                found.append("the set %s: %s" % (name, problem))
        return found


def _digest(path: Path) -> str:
    sums = [path / "manifest.json", path / "SHA256SUMS"]
    return hashlib.sha256(b"".join(one.read_bytes() for one in sums if one.exists())).hexdigest()


def _read(lab: Lab, path: Path) -> str:
    try:
        manifest = json.loads((path / "manifest.json").read_text())
    except (OSError, ValueError) as error:
        return "no manifest: %s" % error
    if manifest["id"] != path.name:
        return "its manifest is of %s" % manifest["id"]
    listed = {line.split(maxsplit=1)[1] for line in (path / "SHA256SUMS").read_text().splitlines()} - {"manifest.json"}
    there = {str(one.relative_to(path)) for one in path.rglob("*") if one.is_file()} - {"manifest.json", "SHA256SUMS"}
    if there != listed:
        return "its files are not those listed: %s" % sorted(there ^ listed)
    commands = ["sha256sum --check --strict --quiet SHA256SUMS"]
    commands += [_DECODE[name.rpartition(".")[2]] + " " + shlex.quote(name) + _read_all(lab, name) for name in listed]
    for command in commands:
        argv = ["bash", "-o", "pipefail", "-c", command]
        done = subprocess.run(argv, cwd=path, capture_output=True, check=False)
        if done.returncode:
            return "%s: %s" % (command, (done.stderr + done.stdout).decode(errors="replace")[-300:])
    return ""


def _read_all(lab: Lab, name: str) -> str:
    """Return what reads an artifact to its end, as the other half of a pipe."""
    if ".dump" in name:
        return " | %s -f /dev/null" % shlex.quote(str(lab.instance.postgres.bin / "pg_restore"))
    return " | tar -tf - >/dev/null" if ".tar" in name else " >/dev/null"


def visible(lab: Lab, finished: bool) -> list[str]:
    """Compare what ``list`` shows with the complete folders in the store.

    :param finished: nothing unfinished may lie there either.
    """
    target = lab.root / "list.json"
    target.unlink(missing_ok=True)
    run = Run(lab, "list", variables={"authentik_list_file": str(target)})
    if run.finish() != 0:
        return ["list fails: %s" % run.output[-1500:]]
    shown = json.loads(target.read_text())
    ids = sorted(re.findall(r'"id": "(%s)"' % _ID.pattern, json.dumps(shown)))
    found = [] if ids == lab.set_ids() else ["list shows %s, the store holds %s" % (ids, lab.set_ids())]
    if finished:
        found += ["the store still holds %s" % name for name in unfinished(lab)]
    return found


def unfinished(lab: Lab) -> list[str]:
    """Return what lies in the store and belongs to no set."""
    folder = lab.site.store / NAME
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return [n for n in names if not _ID.fullmatch(n) and not _ID.fullmatch(n.removesuffix(".verified.json"))]


def strays(lab: Lab, kept: Iterable[str] = ()) -> list[str]:
    """Return databases, copies, spools and work files that nobody needs any more.

    :param kept: ids of restores whose way back is to be there still.
    """
    names = [name.lower().replace("-", "_") for name in kept]
    found = []
    for name in lab.instance.postgres.databases():
        if name.startswith(KEPT):
            continue
        if name not in ["authentik", *["authentik_before_" + one for one in names]]:
            found.append("database %s" % name)
    for path in lab.site.leftovers():
        if (
            path.startswith("/")
            and not path.endswith(tuple(".before-" + one for one in kept))
            and path != str(lab.work)
        ):
            found.append("left beside the live ones: %s" % path)
    environment = lab.instance.root / "etc/default"
    known = ["authentik", *["authentik.before-" + one for one in kept]]
    found += ["left beside the live ones: %s" % path for path in environment.iterdir() if path.name not in known]
    found += ["work folder: %s" % path for path in _entries(lab.work) if path.name not in kept and not _is_record(path)]
    found += ["spool: %s" % path for path in _entries(lab.spools)]
    controller = lab.site.controller.work
    found += ["controller: %s" % path for path in controller.glob("local_tmp/authentik_recovery-*")]
    return found


def _is_record(folder: Path) -> bool:
    """Whether nothing but the record of a restore is in a folder: how it ended is written down, and stays."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return "restore.json" in names and names <= {"restore.json", "manifest.json"}


def busy(lab: Lab, runs: Iterable[Run]) -> list[str]:
    """Return processes of runs and connections to the database, once they had time to end."""
    marks = [run.mark for run in runs]

    def present() -> list[str]:
        found = [
            "process %d: %s" % (one.pid, one.command.replace("\0", " ")[:200])
            for one in all_processes()
            if any(mark in one.environment for mark in marks)
            or (one.program in TOOLS and str(lab.root) in one.command + one.environment)
        ]
        sql = (
            "SELECT pid || ' ' || usename || ' ' || application_name || ' ' || datname FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return found + ["connection %s" % line for line in lab.instance.postgres.psql(sql).splitlines()]

    return [str(one) for one in settled(present)]


def settled(present: Callable[[], Sequence[object]], seconds: float | None = None) -> Sequence[object]:
    """Return what is still there once it had time to go."""
    deadline = time.monotonic() + (PATIENCE_SECONDS if seconds is None else seconds)
    while found := present():
        if time.monotonic() > deadline:
            return found
        time.sleep(0.25)
    return []


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
