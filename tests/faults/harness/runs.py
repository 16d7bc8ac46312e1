# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run of a playbook that can be watched step by step, held, and interfered with."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.faults.harness.lab import Lab
from tests.support.playbook import ROOT

#: In the environment of everything that a run starts.
MARK = "RECOVERY_FAULT_RUN"
#: Programs that modules start.
TOOLS = ("pg_dump", "pg_dumpall", "pg_restore", "psql", "zstd")
#: Kind of run -> its playbook and variables. A restore saves nothing first where something else is judged, as most of
#: its time would go there.
KINDS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "backup": ("backup", {}),
    "list": ("list", {}),
    "restore": ("restore", {"authentik_safety_set": False}),
    "safe-restore": ("restore", {}),
}
_WAY_BACK = re.compile(r"go back with: (ansible-playbook .*?)\"?$", re.MULTILINE)
_LIMIT_SECONDS = 600.0


class Stuck(Exception):
    """A run does not come to its end."""


@dataclass
class Step:
    """A step of a run as it was seen.

    :ivar seconds: that it took.
    :ivar changed: whether it said that it changed something.
    """

    name: str
    action: str
    seconds: float = 0.0
    status: str = "begun"
    error: str = ""
    changed: bool = True

    @property
    def short(self) -> str:
        """The action's last name."""
        return self.action.rpartition(".")[2]


class Run:
    """A run of one of :data:`KINDS`, or of a command that a run printed.

    :param hold: name of the step at whose beginning the run waits for :meth:`release`.
    """

    def __init__(
        self, lab: Lab, what: str | list[str], hold: str = "", variables: Mapping[str, object] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.lab = lab
        self.mark = uuid.uuid4().hex
        controller = lab.site.controller
        folder = lab.root / "runs"
        folder.mkdir(exist_ok=True)
        self.screen = folder / (self.mark + ".txt")
        self._steps, self._gate = folder / (self.mark + ".steps"), folder / (self.mark + ".gate")
        if hold:
            self._gate.touch()
        environment = controller.environment(
            {
                MARK: self.mark,
                "RECOVERY_FAULT_STEPS": str(self._steps),
                "RECOVERY_FAULT_STEP": hold,
                "RECOVERY_FAULT_GATE": str(self._gate) if hold else "",
                "ANSIBLE_CALLBACKS_ENABLED": "fault_steps",
                "ANSIBLE_PIPELINING": "true",
                "PYTHONUNBUFFERED": "1",
                **(env or {}),
            }
        )
        argv, given = [controller.program], dict(variables or {})
        if isinstance(what, str):
            playbook, more = KINDS[what]
            argv.append("playbooks/%s.yml" % playbook)
            given = {**more, **given}
            if playbook == "restore":
                # Not the latest: a run beside this one may have saved what is to be replaced.
                given.setdefault("authentik_backup_id", lab.set_ids()[0])
        else:
            argv += what
        if given:
            argv += ["-e", json.dumps(given)]
        read, write = os.pipe()
        self.process = subprocess.Popen(
            argv,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=write,
            stderr=write,
            start_new_session=True,
        )
        os.close(write)
        self._copier = _copy_screen(read, self.screen)

    @property
    def output(self) -> str:
        """What the run has shown so far."""
        return self.screen.read_text(errors="replace") if self.screen.exists() else ""

    @property
    def rc(self) -> int:
        """The exit status; of a run that was killed the negative signal."""
        return int(self.process.wait())

    def steps(self) -> list[Step]:
        """Return the steps so far, in order."""
        found: list[Step] = []
        began = 0.0
        # What stands after the last newline is being written.
        for line in self._steps.read_text().split("\n")[:-1] if self._steps.exists() else []:
            seen = json.loads(line)
            if found:
                found[-1].seconds = seen["time"] - began
            if seen["what"] == "begins":
                found.append(Step(seen["step"], seen["action"], changed=False))
                began = seen["time"]
            elif found:
                found[-1].status, found[-1].error = seen["what"], seen.get("error", "")
                found[-1].changed |= seen.get("changed", True) and seen["what"] != "skipped"
        return found

    def clock(self) -> float:
        """Return when the last step began or ended by the run's own clock, in seconds since 1970."""
        return float(json.loads(self._steps.read_text().splitlines()[-1])["time"])

    def reaches(self, step: str) -> bool:
        """Wait until a step begins; False when the run ended before."""
        return self.wait_until(lambda: any(one.name == step for one in self.steps()))

    def wait_until(self, ready: Callable[[], bool], seconds: float = _LIMIT_SECONDS) -> bool:
        """Wait for something while the run runs; False when it ended, or time passed, before."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                return ready()
            time.sleep(0.01)
        return True

    def release(self) -> None:
        """Let a run that waits go on."""
        self._gate.unlink(missing_ok=True)

    def close_screen(self) -> None:
        """Close the reading end of the run's output."""
        os.kill(self._copier.pid, signal.SIGKILL)
        self._copier.wait()

    def finish(self, seconds: float = _LIMIT_SECONDS) -> int:
        """Wait for the end and return the exit status."""
        self.release()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Stuck("the run did not end within %d s; its last step: %s" % (seconds, self.steps()[-1:])) from None
        except BaseException:
            self.kill()
            raise
        with contextlib.suppress(subprocess.TimeoutExpired):
            # What the run left running may hold the screen open.
            self._copier.wait(2)
        return self.rc

    def kill(self) -> None:
        """SIGKILL for ``ansible-playbook`` and its workers, not for what runs on the host."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def processes(self) -> Iterator[Process]:
        """Yield what the run started and what that started, on the controller and on the host."""
        everything = {process.pid: process for process in all_processes()}
        marked = {pid for pid, process in everything.items() if self.mark in process.environment}
        for pid, process in everything.items():
            line = pid
            while line in everything and line not in marked:
                line = everything[line].parent
            if line in marked:
                yield process

    def way_back(self) -> list[str]:
        """Return the arguments of the command that the run printed before it changed anything; none when it did not."""
        found = _WAY_BACK.findall(self.output)
        return shlex.split(found[-1].replace('\\"', '"'))[1:] if found else []


@dataclass
class Process:
    """One process of the machine."""

    pid: int
    parent: int
    command: str
    environment: str

    @property
    def program(self) -> str:
        """Name of the program."""
        return os.path.basename(self.command.split("\0", 1)[0])

    @property
    def is_module(self) -> bool:
        """Whether it is a module at work: sent as a file, or to the standard input of a Python without arguments."""
        if "AnsiballZ_authentik_" in self.command:
            return "async_wrapper" not in self.command
        return self.program.startswith("python") and self.command.count("\0") == 1

    def kill(self) -> bool:
        """SIGKILL; False when it had gone."""
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True


def all_processes() -> Iterator[Process]:
    """Yield the processes of the machine that may be looked at."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                status = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
                if status[0] in "ZX":
                    continue
                texts = [(folder / name).read_bytes().decode("utf-8", "replace") for name in ("cmdline", "environ")]
            except OSError:
                continue
            yield Process(int(folder.name), int(status[1]), *texts)


def _copy_screen(read: int, target: Path) -> subprocess.Popen[bytes]:
    """Start what reads the run's output: a process of its own, so that it can go away."""
    with open(target, "wb") as screen:
        copier = subprocess.Popen(["cat"], stdin=read, stdout=screen)
    os.close(read)
    return copier


def end_with_parent() -> None:
    """Have the kernel end this process when the one that started it dies; what it has begun is ended too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
