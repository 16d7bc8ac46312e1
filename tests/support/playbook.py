# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs Ansible as a user does, as a program, and gives the results of its tasks.

.. code-block:: python

    def test_it(controller):
        run = controller.playbook("playbooks/backup.yml", variables={"authentik_store": str(store)})
        assert run.ok, run.output
        found = controller.module("authentik_ops.recovery.authentik_info", {"config_paths": [...]})
        assert found.result["postgresql"]["port"] == 5432
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import packed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent.parent
BIN = Path(sys.executable).parent
#: What Python compiled of modules, for the next ones: see ``startup/sitecustomize.py``.
COMPILED = ROOT / "tests/output/compiled"

CONFIG = """\
[defaults]
collections_path = {collections}
callback_plugins = {callbacks}
callbacks_enabled = recorded_results
host_key_checking = false
inject_facts_as_vars = false
interpreter_python = auto_silent
inventory = {inventory}
local_tmp = {work}/local_tmp
nocows = true
retry_files_enabled = false

[ssh_connection]
control_path_dir = {sockets}
"""


@dataclass
class TaskResult:
    """One result of one task on one host; ``status`` is ok, failed, skipped or unreachable.

    ``seconds`` have passed since the task began on the first host.
    """

    status: str
    host: str
    task: str
    action: str
    result: dict[str, Any]
    seconds: float = 0.0
    ignored: bool = False


@dataclass
class Run:
    """What a run of ``ansible-playbook`` left: exit status, screen, results in order."""

    argv: list[str]
    rc: int
    output: str
    results: list[TaskResult] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether the program reported success."""
        return self.rc == 0

    @property
    def result(self) -> dict[str, Any]:
        """The last result, whatever its status."""
        return self.results[-1].result

    @property
    def failures(self) -> list[TaskResult]:
        """Results that failed or could not reach their host, ignored failures left out."""
        return [r for r in self.results if r.status in ("failed", "unreachable") and not r.ignored]

    @property
    def message(self) -> str:
        """The ``msg`` of the first failure; empty when nothing failed."""
        return str(self.failures[0].result.get("msg", "")) if self.failures else ""

    def of(self, action: str) -> list[TaskResult]:
        """Results of a module or action, by its full or its last name."""
        return [r for r in self.results if r.action == action or r.action.rsplit(".", 1)[-1] == action]


class Controller:
    """An Ansible controller with a configuration, an inventory and a home of its own in ``work``.

    :param work: an existing empty folder.
    :param hosts: host name -> its variables, all of them in the group ``authentik``; default: ``localhost`` over the
        local connection.
    :param collections: value of ``collections_path``; default: the checkout.
    """

    def __init__(
        self,
        work: Path,
        hosts: Mapping[str, Mapping[str, Any]] | None = None,
        collections: str | None = None,
        program: str | None = None,
    ) -> None:
        self.work = work
        self.collections = collections or str(ROOT / ".collections")
        self.program = program or str(BIN / "ansible-playbook")
        self.hosts = dict(hosts or {"localhost": _local()})
        # Control sockets have to fit in 108 bytes, which pytest's folders may exceed.
        self._sockets = tempfile.mkdtemp(prefix="cp-")
        for name in ("home", "local_tmp", "remote_tmp"):
            (work / name).mkdir(exist_ok=True)
        with contextlib.suppress(OSError):
            COMPILED.mkdir(parents=True, exist_ok=True)
        self.inventory = work / "inventory.json"
        self.inventory.write_text(json.dumps({"all": {"children": {"authentik": {"hosts": self.hosts}}}}))
        self.config = work / "ansible.cfg"
        self.config.write_text(
            CONFIG.format(
                collections=self.collections,
                callbacks=ROOT / "tests" / "support" / "callback_plugins",
                inventory=self.inventory,
                work=work,
                sockets=self._sockets,
            )
        )

    def close(self) -> None:
        """Remove the control sockets' folder."""
        shutil.rmtree(self._sockets, ignore_errors=True)

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment for a child: nothing of the caller's Ansible settings, the venv first on PATH."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("ANSIBLE_", "PYTEST_", "PG"))}
        kept.update(
            PATH="%s:%s" % (BIN, os.environ.get("PATH", os.defpath)),
            HOME=str(self.work / "home"),
            LANG="C.UTF-8",
            LC_ALL="C.UTF-8",
            ANSIBLE_CONFIG=str(self.config),
            ANSIBLE_HOME=str(self.work / "home" / ".ansible"),
            ANSIBLE_REMOTE_TMP=str(self.work / "remote_tmp") if self._is_local() else "~/.ansible/tmp",
            ANSIBLE_NOCOLOR="1",
            PYTHONPATH=os.pathsep.join(
                filter(None, [str(ROOT / "tests/support/startup"), os.environ.get("PYTHONPATH")])
            ),
            RECOVERY_TEST_COMPILED=str(COMPILED),
        )
        kept.update(more or {})
        collections = kept.get("ANSIBLE_COLLECTIONS_PATH", self.collections)
        kept["RECOVERY_TEST_PACKED"] = str(packed.folder_for(collections))
        return kept

    def playbook(
        self,
        playbook: str | Path | Sequence[Mapping[str, Any]],
        variables: Mapping[str, Any] | None = None,
        *,
        check: bool = False,
        diff: bool = False,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        timeout: float = 600,
    ) -> Run:
        """Run a playbook and return what it did.

        :param playbook: a path (relative to the checkout), a full collection name, or the plays themselves.
        :param variables: extra variables, given as one JSON document.
        :param timeout: seconds; past it the program is killed and the test fails.
        """
        if not isinstance(playbook, (str, Path)):
            target = self.work / "playbook.json"
            target.write_text(json.dumps(list(playbook)))
            playbook = target
        results = self.work / "results.jsonl"
        results.unlink(missing_ok=True)
        argv = [self.program, str(playbook), *options]
        if variables:
            given = self.work / "variables.json"
            given.write_text(json.dumps(dict(variables)))
            argv += ["-e", "@%s" % given]
        argv += ["--check"] if check else []
        argv += ["--diff"] if diff else []
        environment = self.environment({"RECOVERY_TEST_RESULTS": str(results), **(env or {})})
        done = subprocess.run(
            argv,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
        lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
        return Run(
            argv, done.returncode, done.stdout.decode("utf-8", "replace"), [TaskResult(**json.loads(x)) for x in lines]
        )

    def module(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        host: str | None = None,
        task: Mapping[str, Any] | None = None,
        **how: Any,
    ) -> Run:
        """Run one task: ``run.result`` is its result.

        :param task: further keywords of the task (``become``, ``async`` ...).
        :param how: passed on to :meth:`playbook`.
        """
        step = {"name": name, name: dict(arguments or {}), **(task or {})}
        play = {"hosts": host or next(iter(self.hosts)), "gather_facts": False, "tasks": [step]}
        return self.playbook([play], **how)

    def _is_local(self) -> bool:
        return all(h.get("ansible_connection") == "local" for h in self.hosts.values())


def _local() -> dict[str, Any]:
    return {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    """A controller whose only host is ``localhost`` over the local connection."""
    work = tmp_path / "controller"
    work.mkdir()
    made = Controller(work)
    yield made
    made.close()
