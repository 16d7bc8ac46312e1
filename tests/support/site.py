# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An instance with its controller and store: what tests of whole playbooks work on."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.demo import oracle
from tests.demo.instance import Instance, Picture
from tests.support import oracle as database_oracle
from tests.support.playbook import ROOT, Controller, Run

NAME = "sso.example.org"
EVENTS = 60
STARTER = """\
#!{python}
import os, sys
os.setsid()
open({pid!r}, "w").write(str(os.getpid()))
os.execv({program!r}, [{program!r}, *sys.argv[1:]])
"""
SHIPPED = ("meta", "plugins", "roles", "playbooks")


class Site:
    """An instance, its controller and its store.

    :ivar saves_first: whether restores make their safety set, as they do at a user's. Tests that judge something else
        need not wait for a backup each time.
    """

    def __init__(self, root: Path, instance: Instance) -> None:
        self.saves_first = False
        self.root = root
        self.instance = instance
        self.store = root / "store"
        (root / "controller").mkdir()
        self.controller = Controller(root / "controller", {NAME: {}})
        instance.inventory(self.controller.inventory, NAME)

    def run(
        self,
        playbook: str,
        check: bool = False,
        collections: Path | None = None,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        **variables: object,
    ) -> Run:
        """Run a playbook of the checkout; the variables are given without the prefix ``authentik_``."""
        given: dict[str, object] = {"authentik_store": str(self.store), "authentik_allow_ephemeral_store": True}
        if playbook == "restore" and not self.saves_first:
            given["authentik_safety_set"] = False
        given.update({"authentik_" + name: value for name, value in variables.items()})
        settings = {"ANSIBLE_PIPELINING": "true", **(env or {})}
        if collections:
            settings["ANSIBLE_COLLECTIONS_PATH"] = str(collections)
        return self.controller.playbook(
            "playbooks/%s.yml" % playbook, given, check=check, options=options, env=settings
        )

    def sets(self) -> list[Path]:
        """Return the folders of the published sets, oldest first."""
        # Just before it is published a set has its manifest, and another name.
        return sorted(path.parent for path in self.store.glob("%s/*Z-????/manifest.json" % NAME))

    def reset(self) -> None:
        """Give the instance its first content again, and forget all sets."""
        self.instance.postgres.reset()
        self.instance.redis.send("FLUSHALL")
        for folder in (self.instance.root / "etc", self.instance.root / "var", self.store):
            shutil.rmtree(folder, ignore_errors=True)
        self.instance.create()

    def leftovers(self) -> list[str]:
        """Return databases and paths that lie beside the live ones."""
        databases = [name for name in self.instance.postgres.databases() if name != "authentik"]
        folders = {folder.parent for folder in self.instance.folders} | {self.instance.root / "etc/authentik"}
        known = {folder.name for folder in self.instance.folders} | {"config.yml", "secret_key", "postgresql_password"}
        return databases + sorted(
            str(path) for folder in folders for path in folder.iterdir() if path.name not in known
        )

    def copy_collection(self, broken: dict[str, str]) -> Path:
        """Copy the collection and put a failure into modules.

        :param broken: name of a module -> Python condition on ``ctx``; when it holds, the module fails after its work.
        :returns: a folder for ``collections_path``.
        """
        path = Path(tempfile.mkdtemp(dir=self.root))
        target = path / "ansible_collections/authentik_ops/recovery"
        for name in SHIPPED:
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        for module, condition in broken.items():
            file = target / "plugins/module_utils/_module.py"
            text = file.read_text()
            call = "        result = body(Context(module))\n"
            if call not in text:
                raise AssertionError("%s no longer holds the line that is replaced" % file)
            text = text.replace(
                call,
                call + "        ctx = module\n"
                "        if module._name.endswith(%r) and (%s):\n"
                "            raise InputError('injected failure')\n" % (module, condition),
            )
            file.write_text(text)
        return path


def differences(before: Picture, after: Picture) -> list[str]:
    """Return every difference between two pictures of an instance."""
    return [
        *database_oracle.differences(before.database, after.database),
        *[str(name) for name in oracle.different(before.files, after.files)],
        *[repr(name) for name in oracle.different(before.keys, after.keys)],
    ]


def shown(run: Run) -> str:
    """Return everything that the playbook showed with debug, line by line."""
    said = [result.result.get("msg", "") for result in run.of("debug")]
    return "\n".join("\n".join(text) if isinstance(text, list) else str(text) for text in said)


def leave(site: Site) -> None:
    """Give the live instance other content than the newest set: rows, files and keys changed, added and removed."""
    database = site.instance.database
    database.psql("UPDATE authentik_core_user SET name = 'changed'; DELETE FROM authentik_events_notification;")
    media = site.instance.folders[0] / "public"
    (media / "after.svg").write_text("<svg/>")
    (media / "application-icons" / "app-07.svg").unlink()
    site.instance.redis.send("SET", "after", "the backup")
    site.instance.redis.send("DEL", "celery")


def killed(site: Site, module: str, condition: str, restore_id: str, **variables: Any) -> None:
    """Restore, and end ansible-playbook and all that it has started by SIGKILL where a condition holds in a module."""
    pid, starter = site.root / "pid", site.root / "starter"
    starter.write_text(STARTER.format(python=sys.executable, pid=str(pid), program=site.controller.program))
    starter.chmod(0o700)
    kill = "__import__('os').killpg(int(open(%r).read()), 9)" % str(pid)
    collections = site.copy_collection({module: "(%s) and %s" % (condition, kill)})
    program, site.controller.program = site.controller.program, str(starter)
    try:
        run = site.run("restore", collections=collections, restore_id=restore_id, **variables)
    finally:
        site.controller.program = program
    assert run.rc == -9, run.output


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A site whose servers run for all tests of a module."""
    root = Path(tempfile.mkdtemp(prefix="site-"))
    root.chmod(0o755)
    try:
        with Instance(root / "host", EVENTS) as instance:
            made = Site(root, instance)
            instance.create()
            yield made
            made.controller.close()
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(root)], check=False)
        shutil.rmtree(root, ignore_errors=True)
