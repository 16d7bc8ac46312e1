# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A systemd host over ssh, as an unprivileged user with become: backup, disaster, restore, and backup again; and moves
between the host and a compose project.

The tests of this file build on each other, in their order, once per layout.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.system import compose_oracle, moves, oracle
from tests.system.authentik_host import LAYOUTS, PASSWORD, SECRET_KEY
from tests.system.compose_site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.compose_engine import Compose
    from tests.support.playbook import Controller, Run
    from tests.system.authentik_host import BareMetal

pytestmark = pytest.mark.system

# Whatever the collection needs on the host for the time of a run.
LEFTOVERS = (
    "find /var/tmp /tmp /home/ops /root -xdev \\( -iname '*spool*' -o -iname '*recovery*' -o -iname 'ansible-tmp-*'"
    " -o -name '*.part' \\) -not -path '*/systemd-private-*'"
)


def _sets(store: Path) -> list[dict[str, Any]]:
    """The manifests of the store, oldest first."""
    return [json.loads(path.read_text()) for path in sorted(store.glob("sso/*/manifest.json"))]


def _leftovers(bare_metal: BareMetal) -> str:
    """What a run left on the host: Ansible removes the folder of an asynchronous module some seconds after its end."""
    limit = time.monotonic() + 20
    while time.monotonic() < limit and bare_metal.host.sh(LEFTOVERS):
        time.sleep(1)
    return bare_metal.host.sh(LEFTOVERS)


def _backup(controller: Controller, store: Path, **how: Any) -> Run:
    return controller.playbook(
        "playbooks/backup.yml", {"authentik_store": str(store), "authentik_allow_ephemeral_store": True}, **how
    )


def _restore(controller: Controller, store: Path, variables: dict[str, Any] | None = None, **how: Any) -> Run:
    return controller.playbook(
        "playbooks/restore.yml",
        {"authentik_store": str(store), "authentik_allow_ephemeral_store": True, **(variables or {})},
        **how,
    )


def test_check_mode_of_a_backup_leaves_no_trace(bare_metal: BareMetal, over_ssh: Controller, store: Path) -> None:
    before = oracle.picture(bare_metal)
    run = _backup(over_ssh, store, check=True)
    assert run.ok, run.output
    assert not list(store.glob("**/*.dump*"))
    assert _sets(store) == []
    assert oracle.differences(before, oracle.picture(bare_metal)) == {}
    assert _leftovers(bare_metal) == ""


def test_backup_saves_every_component_and_leaves_nothing_behind(
    bare_metal: BareMetal, over_ssh: Controller, store: Path
) -> None:
    run = _backup(over_ssh, store)
    assert run.ok, run.output
    (manifest,) = _sets(store)
    assert set(manifest["components"]) == bare_metal.layout.components
    assert manifest["instance"]["authentik_version"]["value"] == bare_metal.layout.version
    assert bare_metal.unit_states() == {"server": "active", "worker": "active"}
    assert _leftovers(bare_metal) == ""
    assert not list(store.glob("**/*.partial"))


def test_no_secret_in_the_output_or_in_readable_files(bare_metal: BareMetal, over_ssh: Controller, store: Path) -> None:
    run = _backup(over_ssh, store / "verbose", options=["-vvv"])
    assert run.ok, run.output
    said = run.output + json.dumps([result.result for result in run.results], ensure_ascii=False)
    for secret in (PASSWORD, SECRET_KEY):
        assert secret not in said
        assert json.dumps(secret) not in said
        assert json.dumps(secret, ensure_ascii=False)[1:-1] not in said
    readable = [path for path in store.rglob("*") if path.is_file() and path.stat().st_mode & 0o077]
    assert readable == []


def test_check_mode_of_a_restore_reads_everything_and_changes_nothing(
    bare_metal: BareMetal, over_ssh: Controller, store: Path
) -> None:
    before = oracle.picture(bare_metal)
    run = _restore(over_ssh, store, check=True)
    assert run.ok, run.output
    assert oracle.differences(before, oracle.picture(bare_metal)) == {}
    assert bare_metal.unit_states() == {"server": "active", "worker": "active"}


def test_disaster_and_restore(bare_metal: BareMetal, over_ssh: Controller, store: Path) -> None:
    before = oracle.picture(bare_metal)
    bare_metal.disaster()
    run = _restore(over_ssh, store)
    assert run.ok, run.output
    assert oracle.differences(before, oracle.picture(bare_metal)) == {}
    assert bare_metal.unit_states() == {"server": "active", "worker": "active"}
    assert bare_metal.get("/-/health/ready/")[0] == 200
    assert bare_metal.get("/media/public/logo.txt") == (200, "logo")
    assert _leftovers(bare_metal) == ""


def test_unchanged_directories_are_linked(bare_metal: BareMetal, over_ssh: Controller, store: Path) -> None:
    run = _backup(over_ssh, store)
    assert run.ok, run.output
    # The restore before saved what the disaster had left.
    first, second = [manifest for manifest in _sets(store) if manifest.get("purpose") != "safety"]
    earlier = {artifact["path"]: artifact for artifact in first["artifacts"]}
    directories = [a for a in second["artifacts"] if a["component"] in bare_metal.layout.directories]
    assert {artifact["component"] for artifact in directories} == set(bare_metal.layout.directories)
    for artifact in directories:
        assert artifact["linked_from"] == first["id"]
        assert artifact["sha256"] == earlier[artifact["path"]]["sha256"]
        old, new = (store / "sso" / s["id"] / artifact["path"] for s in (first, second))
        assert old.samefile(new)


def test_restore_over_a_living_instance_goes_back_in_time(
    bare_metal: BareMetal, over_ssh: Controller, store: Path
) -> None:
    before = oracle.picture(bare_metal)
    bare_metal.host.psql("UPDATE authentik_core_user SET name = 'changed'", "authentik")
    bare_metal.host.sh("echo changed > %s/public/logo.txt" % bare_metal.layout.directories["media"])
    bare_metal.host.sh("systemctl stop authentik-worker")
    run = _restore(over_ssh, store, {"authentik_backup_id": _sets(store)[-1]["id"]})
    assert run.ok, run.output
    assert oracle.differences(before, oracle.picture(bare_metal)) == {}
    # What was stopped stays stopped.
    assert bare_metal.unit_states() == {"server": "active", "worker": "inactive"}


def test_list_shows_both_sets(bare_metal: BareMetal, over_ssh: Controller, store: Path) -> None:
    run = over_ssh.playbook("playbooks/list.yml", {"authentik_store": str(store), "authentik_instance": "sso"})
    assert run.ok, run.output
    for manifest in _sets(store):
        assert manifest["id"] in run.output
    assert bare_metal.layout.version in run.output


@pytest.fixture(scope="module")
def project(bare_metal: BareMetal, compose: Compose, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A compose project of the same release, with data of its own."""
    made = Site(compose, moves.PROJECTS[_name(bare_metal)], tmp_path_factory.mktemp("project"))
    try:
        made.project.install(rows=30)
        yield made
    finally:
        made.close()


def _name(bare_metal: BareMetal) -> str:
    return next(name for name, layout in LAYOUTS.items() if layout == bare_metal.layout)


def test_the_set_of_a_compose_project_moves_here_and_is_undone(
    bare_metal: BareMetal, over_ssh: Controller, project: Site
) -> None:
    if not bare_metal.layout.redis:
        return
    run = project.run("backup")
    assert run.ok, run.output
    before = oracle.picture(bare_metal)
    places = {"authentik_directories": {"custom_templates": moves.TEMPLATES}}
    folders = {**bare_metal.layout.directories, "custom-templates": moves.TEMPLATES}
    folders = {name: folders[name] for name in project.project.layout.binds}
    run = _restore(over_ssh, project.store, places)
    assert run.ok, run.output
    there = moves.in_project(project.project, list(folders))
    assert compose_oracle.differences(there, moves.on_host(bare_metal, folders)) == {}
    assert bare_metal.get("/media/public/logo.txt") == (200, "logo")
    assert bare_metal.host.sh("stat -c %U " + folders["media"]).strip() == bare_metal.layout.user
    run = over_ssh.playbook("playbooks/rollback.yml", {"authentik_store": str(project.store), **places})
    assert run.ok, run.output
    assert oracle.differences(before, oracle.picture(bare_metal)) == {}
    assert bare_metal.host.sh("ls -d %s || true" % moves.TEMPLATES) == ""


def test_the_set_of_the_host_moves_into_a_compose_project(bare_metal: BareMetal, store: Path, project: Site) -> None:
    there, key = project.project, project.project.signature()
    configuration = compose_oracle.configuration(there)
    shared = moves.SHARED[_name(bare_metal)]
    folders = {name: path for name, path in bare_metal.layout.directories.items() if name in shared}
    # The history that was generated tells of a later release than the host of 2024 has.
    run = project.run("restore", store=str(store), components=shared, version_policy="force")
    assert run.ok, run.output
    expected = moves.on_host(bare_metal, folders)
    assert compose_oracle.differences(expected, moves.in_project(there, list(folders))) == {}
    # authentik itself serves what came from the host, with the project's own key, as its own user.
    assert there.logo() == (200, b"logo\n")
    assert there.signature() == key
    assert compose_oracle.configuration(there) == configuration
    place = "data/media/public" if "data" in there.layout.directories else "media/public"
    assert there.look("stat -c %%u:%%g /look/%s/logo.txt" % place).strip() == "1000:1000"
    assert set(there.states().values()) == {"running"}
    assert project.leftovers() == []
