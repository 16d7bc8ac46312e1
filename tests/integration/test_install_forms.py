# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection as users get it: installed from the built tarball, and cut down to what Ansible itself needs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.playbook import BIN, ROOT, Controller

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "authentik_ops.recovery"
NEEDED = {"meta", "plugins", "roles", "playbooks"}
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))


def _call(*argv: str, cwd: Path, controller: Controller | None = None) -> str:
    # Without a controller: nothing in the environment, or the checkout would count as installed.
    env = controller.environment() if controller else {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``ansible-galaxy collection build`` makes of the checkout."""
    folder = tmp_path_factory.mktemp("build")
    _call(str(BIN / "ansible-galaxy"), "collection", "build", str(ROOT), "--output-path", str(folder), cwd=folder)
    return next(folder.glob("authentik_ops-recovery-*.tar.gz"))


@pytest.fixture(scope="module", params=["installed", "cut down"])
def collections(request: pytest.FixtureRequest, tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for ``collections_path`` that holds one form of the collection."""
    folder = tmp_path_factory.mktemp("collections")
    galaxy = str(BIN / "ansible-galaxy")
    _call(galaxy, "collection", "install", str(tarball), "--offline", "-p", str(folder), cwd=folder)
    installed = folder / "ansible_collections" / "authentik_ops" / "recovery"
    if request.param == "cut down":
        for path in installed.iterdir():
            if path.name not in NEEDED:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        assert {path.name for path in installed.iterdir()} == NEEDED
    return folder


@pytest.fixture
def user(collections: Path, tmp_path: Path) -> Iterator[Controller]:
    """A controller that finds this form of the collection and no other."""
    work = tmp_path / "controller"
    work.mkdir()
    made = Controller(work, collections=str(collections))
    yield made
    made.close()


def test_the_tarball_holds_no_development_files(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        names = archive.getnames()
    top = {name.split("/")[0] for name in names}
    assert NEEDED | {"README.md", "LICENSE"} <= top
    assert top <= NEEDED | {
        "CHANGELOG.rst",
        "FILES.json",
        "LICENSE",
        "MANIFEST.json",
        "README.md",
        "changelogs",
        "docs",
    }
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    assert tarball.stat().st_size < 5_000_000


def test_every_module_is_documented(user: Controller) -> None:
    text = _call(
        str(BIN / "ansible-doc"),
        "--json",
        *["%s.%s" % (NAME, name) for name in MODULES],
        cwd=user.work,
        controller=user,
    )
    found = json.loads(text)
    assert sorted(found) == ["%s.%s" % (NAME, name) for name in MODULES]
    for name, entry in found.items():
        assert entry["doc"]["short_description"], name
        assert entry["examples"], name
        assert NAME in entry["examples"], "%s: examples without the module's full name" % name


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_every_playbook_is_found_by_its_full_name(user: Controller, playbook: str) -> None:
    run = user.playbook("%s.%s" % (NAME, playbook), options=["--syntax-check"])
    assert run.ok, run.output


def test_an_installed_playbook_does_its_work(user: Controller, tmp_path: Path) -> None:
    run = user.playbook("%s.list" % NAME, {"authentik_store": str(tmp_path / "store")})
    assert run.ok or "store" in run.message, run.output
    assert "was not found" not in run.output


def test_a_backup_with_the_installed_form(user: Controller, tmp_path: Path) -> None:
    from tests.demo.instance import Instance

    with Instance(tmp_path / "host", events=20) as instance:
        instance.create()
        inventory = tmp_path / "inventory.json"
        instance.inventory(inventory, "sso.example.org")
        variables = {"authentik_store": str(tmp_path / "store"), "authentik_allow_ephemeral_store": True}
        options = ["-i", str(inventory), "--limit", "sso.example.org,localhost"]
        run = user.playbook("%s.backup" % NAME, variables, options=options)
        assert run.ok, run.output
    (manifest,) = (tmp_path / "store").glob("sso.example.org/*/manifest.json")
    assert json.loads(manifest.read_text())["created_by"]["ansible_core"]


def test_the_checkout_works_under_its_own_configuration(tmp_path: Path) -> None:
    argv = [str(BIN / "ansible-playbook"), "playbooks/backup.yml", "--syntax-check"]
    env = {"PATH": "%s:/usr/bin:/bin" % Path(sys.executable).parent, "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
