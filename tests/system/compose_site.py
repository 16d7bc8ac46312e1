# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A project as its operator has it, with the controller and the store that look after it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.support.compose_ssh_host import ComposeHost
from tests.support.playbook import Controller
from tests.system.compose_project import Project

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.compose_engine import Compose
    from tests.support.playbook import Run
    from tests.system.compose_layouts import Layout

NAME = "sso"


def failure(run: Run) -> str:
    """What a run that failed told its operator: the messages of its failures, the last one being the run's own."""
    assert not run.ok, run.output
    return "\n".join(str(result.result.get("msg", "")) for result in run.failures)


class Site:
    """A project, its host in an inventory, and a store.

    :ivar saves_first: whether restores make their safety set, as they do at a user's. Tests that judge something else
        need not wait for a backup each time.
    """

    def __init__(self, compose: Compose, layout: Layout, root: Path, ssh_key: Path | None = None) -> None:
        self.compose = compose
        self.saves_first = False
        self.project = Project(compose, layout)
        self.store = root / "store"
        self.host = ComposeHost(compose, ssh_key) if ssh_key else None
        (root / "controller").mkdir()
        reached = self.host.variables if self.host else compose.variables
        self.controller = Controller(root / "controller", {NAME: {**reached, **self.project.variables}})
        self.before = compose.leftovers()

    def run(self, playbook: str, check: bool = False, shell: dict[str, str] | None = None, **variables: object) -> Run:
        """Run a playbook of the checkout; the variables are given without the prefix ``authentik_``.

        :param shell: further variables of the environment that Ansible is run in.
        """
        given: dict[str, object] = {"authentik_store": str(self.store), "authentik_allow_ephemeral_store": True}
        if playbook == "restore" and not self.saves_first:
            given["authentik_safety_set"] = False
        given.update({"authentik_" + name: value for name, value in variables.items()})
        # Faster, as the documentation advises; over ssh the settings are left as a newcomer has them.
        env = {**self.compose.environment, **({} if self.host else {"ANSIBLE_PIPELINING": "true"}), **(shell or {})}
        return self.controller.playbook("playbooks/%s.yml" % playbook, given, check=check, env=env, timeout=900)

    def info(self, **options: object) -> Run:
        """Run the module that finds the instance."""
        name = "authentik_ops.recovery.authentik_info"
        given = {"docker_host": "unix://%s" % self.compose.engine.socket, **options}
        become = {"become": True} if self.host else {}
        return self.controller.module(name, given, task=become, env=self.compose.environment)

    def sets(self) -> list[dict[str, Any]]:
        """The manifests of the store, oldest first."""
        return [json.loads(path.read_text()) for path in sorted(self.store.glob("%s/*/manifest.json" % NAME))]

    def leftovers(self) -> list[str]:
        """What modules left on the host and in the store."""
        found = self.host.leftovers() if self.host else [str(path) for path in self.compose.spool.iterdir()]
        return found + [str(path) for path in self.store.glob("**/*.partial")]

    def close(self) -> None:
        """End the project and its host."""
        self.controller.close()
        self.project.close()
        if self.host:
            self.host.close()
