"""How each fault is brought about, for real: processes are killed, disks are full, connections are reset."""

from __future__ import annotations

import contextlib
import hashlib
import json
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.harness.lab import Lab
from tests.faults.harness.points import Point
from tests.faults.harness.runs import TOOLS, Process, Run, all_processes
from tests.support.site import NAME

FUTURE = "20991231T235959Z-ffff"
_NO_DISKS = "a disk that can be full is a small tmpfs, which only root can mount; limit-files needs none"
#: Where Debian's package ``faketime`` has it, and others have theirs.
_FAKETIME = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib*/faketime/libfaketime.so.1")
#: Less than a chunk, more than what Ansible itself and this harness write.
_LIMIT_BYTES = 24576
_DAY_SECONDS = 86400


class Missed(Exception):
    """The fault did not happen: the step was over, or never came, or there was nothing that it could happen to."""


class Fault:
    """A point at work: the run it happens to, and further runs beside it."""

    def __init__(self, lab: Lab, point: Point) -> None:
        self.lab = lab
        self.point = point
        self.others: list[Run] = []
        self.killed = False
        env: dict[str, str] = {}
        variables: dict[str, object] = {}
        if point.fault == "clock-back":
            make_future_set(lab)
            env = clock_of_yesterday()
            if point.what == "restore":
                variables["authentik_backup_id"] = "latest"
        hold = "" if point.delay else point.step
        self.run = Run(lab, self._command(), hold=hold, variables=variables, env=env)

    def _command(self) -> str | list[str]:
        return self.point.what

    def way_back(self) -> list[str]:
        """Return the command that undoes what the run did; empty when it has not told one."""
        return self.run.way_back()

    def happen(self) -> None:
        """Wait for the step, let the fault happen, and wait until the run has ended.

        :raises Missed: it did not happen.
        """
        try:
            if not self.run.reaches(self.point.step):
                raise Missed("the run ended before the step %s" % self.point.step)
            if self.point.delay:
                time.sleep(self.point.delay)
            FAULTS[self.point.fault](self)
            for other in self.others:
                other.finish()
            if not self.killed:
                self.run.finish()
            # What it says in the end, nobody reads.
            self.killed |= self.point.fault == "close-screen" and self.run.rc != 0
            self._must_have_happened()
        except Missed:
            self.run.finish()
            raise
        finally:
            self.run.release()
            if self.run.process.poll() is None:
                self.run.kill()
            self.lab.disks.free()
            self.lab.revive()

    def within(self) -> bool:
        """Say whether the step still goes on."""
        last = self.run.steps()[-1]
        return self.run.process.poll() is None and last.name == self.point.step and last.status == "begun"

    def _must_be_within(self) -> None:
        if not self.within():
            raise Missed("the step was over")

    def _must_have_happened(self) -> None:
        """Refuse what met nothing: a run that succeeds beside a full disk wrote nothing to it."""
        name = self.point.fault
        if name.startswith(("fill-", "limit-")) and not self.killed and self.run.rc == 0:
            raise Missed("nothing more was written there")
        if name == "clock-back" and faketime() and self.run.clock() > time.time() - _DAY_SECONDS / 2:
            raise Missed("the run did not live in the past")

    def kill_playbook(self) -> None:
        """The controller's processes, all at once."""
        self._must_be_within()
        self.killed = True
        self.run.kill()

    def kill_main(self) -> None:
        """Only the process that the user started: its workers are orphans."""
        self._must_be_within()
        self.killed = True
        self.run.process.kill()
        self.run.process.wait()

    def kill_module(self) -> None:
        """The module's process on the host."""
        self._kill(lambda process: process.is_module)

    def kill_tool(self) -> None:
        """A program that the module started."""
        self._kill(lambda process: process.program in TOOLS)

    def _kill(self, is_it: Callable[[Process], bool]) -> None:
        while True:
            victims = [process for process in self.run.processes() if is_it(process)]
            # All of them, also after the first that could be killed.
            if sum(process.kill() for process in victims):
                return
            if not self.within():
                raise Missed("no such process was there during the step")
            time.sleep(0.01)

    def kill_server(self) -> None:
        """The postmaster; it is started again at once, as systemd and Docker do."""
        self.lose_server()
        self.lab.instance.postgres.revive()

    def lose_server(self) -> None:
        """The postmaster; it comes back when the run has ended."""
        self._until_done(lambda: len(self._sessions()))
        self.lab.instance.postgres.kill()

    def kill_redis(self) -> None:
        """The Redis server; it is started again at once."""
        self._until_done(self.lab.redis_relay.count)
        self.lab.instance.redis.restart(hard=True)

    def _sessions(self) -> list[Process]:
        """Return the processes of the server that serve somebody."""
        postmaster = self.lab.instance.postgres.pid
        return [one for one in all_processes() if one.parent == postmaster and "127.0.0.1(" in one.command]

    def cut_postgresql(self) -> None:
        """Reset the connections to the database."""
        self._until_done(self.lab.postgres_relay.cut)

    def cut_redis(self) -> None:
        """Reset the connections to Redis."""
        self._until_done(self.lab.redis_relay.cut)

    def _until_done(self, attempt: Callable[[], int]) -> None:
        while not attempt():
            if not self.within():
                raise Missed("there was no connection during the step")
            time.sleep(0.005)

    def fill(self, disk: str) -> None:
        """Leave no space on a disk until the run has ended."""
        self._must_be_within()
        if not self.lab.disks.real:
            raise Missed(_NO_DISKS)
        self.lab.disks.fill(disk)

    def limit_files(self) -> None:
        """Let no process of the run write more than some bytes into any file from now on (EFBIG)."""
        limited: set[int] = set()
        while self.within():
            for process in self.run.processes():
                started = process.is_module or "ansible-playbook" in process.command
                if started and process.pid not in limited:
                    with contextlib.suppress(ProcessLookupError):
                        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (_LIMIT_BYTES, resource.RLIM_INFINITY))
                        limited.add(process.pid)
            time.sleep(0.02)
        if not limited:
            raise Missed("the step was over")

    def close_screen(self) -> None:
        """Nobody reads what the run prints any more (EPIPE): it goes on unheard, or ends like one that is killed."""
        self._must_be_within()
        self.run.close_screen()

    def second(self, what: str) -> None:
        """Another run goes through from its beginning to its end while this one waits; then this one goes on."""
        other = Run(self.lab, what)
        self.others.append(other)
        other.finish()
        self._must_be_within()

    def clock_back(self) -> None:
        """Nothing more: the run lives in the past, and the store holds a set of the future."""


FAULTS: dict[str, Callable[[Fault], None]] = {
    "kill-playbook": Fault.kill_playbook,
    "kill-playbook-within": Fault.kill_playbook,
    "kill-main": Fault.kill_main,
    "kill-module": Fault.kill_module,
    "kill-tool": Fault.kill_tool,
    "kill-server": Fault.kill_server,
    "lose-server": Fault.lose_server,
    "kill-redis": Fault.kill_redis,
    "cut-postgresql": Fault.cut_postgresql,
    "cut-redis": Fault.cut_redis,
    "fill-host": lambda fault: fault.fill("host"),
    "fill-store": lambda fault: fault.fill("store"),
    "fill-database": lambda fault: fault.fill("database"),
    "limit-files": Fault.limit_files,
    "close-screen": Fault.close_screen,
    "second-backup": lambda fault: fault.second("backup"),
    "second-restore": lambda fault: fault.second("restore"),
    "clock-back": Fault.clock_back,
}


class Undo(Fault):
    """A fault in the run that takes a finished restore back."""

    def __init__(self, lab: Lab, point: Point, command: list[str]) -> None:
        self._given = command
        super().__init__(lab, point)

    def _command(self) -> list[str]:
        return self._given

    def way_back(self) -> list[str]:
        """Return the same command: undoing again does no harm."""
        return self._given


def make_future_set(lab: Lab) -> None:
    """Copy the first set under the id of a time that is still to come: the clock went back after it was made."""
    target = lab.site.store / NAME / FUTURE
    if target.exists():
        return
    shutil.copytree(lab.site.sets()[0], target)
    manifest = json.loads((target / "manifest.json").read_text())
    manifest.update(id=FUTURE, **{name: "2099" + manifest[name][4:] for name in ("started", "finished")})
    sums = (target / "SHA256SUMS").read_text().splitlines()
    for name in ("manifest.json", "SHA256SUMS"):
        (target / name).unlink()
    (target / "manifest.json").write_text(json.dumps(manifest))
    digest = hashlib.sha256((target / "manifest.json").read_bytes()).hexdigest()
    lines = [digest + line[64:] if line.endswith("  manifest.json") else line for line in sums]
    (target / "SHA256SUMS").write_text("\n".join(lines) + "\n")


def faketime() -> str:
    """Return the path of libfaketime, empty where it is not installed."""
    found = [str(path) for pattern in _FAKETIME for path in sorted(Path("/").glob(pattern[1:]))]
    return found[0] if found else ""


def clock_of_yesterday() -> dict[str, str]:
    """Return the environment in which the clock of a run went back by a day; empty without libfaketime."""
    library = faketime()
    # What counts the seconds since the machine was started goes on, as it does where a clock is set back; else nothing
    # that waits for some time comes to its end.
    steady = dict.fromkeys(("DONT_FAKE_MONOTONIC", "FAKETIME_DONT_FAKE_MONOTONIC"), "1")
    return {"LD_PRELOAD": library, "FAKETIME": "-1d", **steady} if library else {}


def left_out(real_disks: bool) -> dict[str, str]:
    """Return the faults that cannot be had here, or not in full, and why."""
    found = {} if real_disks else dict.fromkeys(("fill-host", "fill-store", "fill-database"), _NO_DISKS)
    if not faketime():
        found["clock-back, the run in the past"] = "libfaketime is not installed; the store holds a set of the future"
    return found
