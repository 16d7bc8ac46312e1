# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules for directories and configuration, run by Ansible: each option does what its documentation says."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.authentik_ops.recovery.plugins.modules import authentik_static_restore
from tests.integration.file_trees import make_odd_tree, snapshot
from tests.support.playbook import Controller, Run

NAME = "authentik_ops.recovery.authentik_"
RESTORE_ID = "20261123T090000Z-11aa"


class Host:
    """An instance that consists of files, and a set made of it by the modules alone."""

    def __init__(self, base: Path, controller: Controller) -> None:
        self.base, self.controller = base, controller
        self.media = make_odd_tree(base / "media")
        self.env = base / "authentik.env"
        self.env.write_text("AUTHENTIK_SECRET_KEY=the-key\nAUTHENTIK_POSTGRESQL__HOST=/nowhere\n")
        self.set = base / "set"
        self.instance: dict[str, Any] = {
            "config_paths": [],
            "env_files": [str(self.env)],
            "server_units": [],
            "worker_units": [],
            "outpost_units": [],
            "authentik_version": "2025.10.1",
            "redis_enabled": False,
            "directories": {
                "media": str(self.media),
                "data": "",
                "certs": "",
                "custom_templates": "",
                "blueprints": "",
            },
        }

    def run(self, module: str, check: bool = False, **options: Any) -> Run:
        arguments = {**self.instance, **options}
        return self.controller.module(NAME + module, arguments, task={"check_mode": check})

    def ok(self, module: str, check: bool = False, **options: Any) -> dict[str, Any]:
        run = self.run(module, check, **options)
        assert run.ok, run.output
        return run.result

    def steps(self, module: str, *steps: str, **options: Any) -> list[dict[str, Any]]:
        """Several steps of a restore in one play; ``check undo`` is the step undo in check mode."""
        name = NAME + module
        tasks = [
            {
                "name": step,
                name: {**self.instance, **options, "step": step.split()[-1]},
                "check_mode": step.startswith("check "),
            }
            for step in steps
        ]
        hosts = next(iter(self.controller.hosts))
        run = self.controller.playbook([{"hosts": hosts, "gather_facts": False, "tasks": tasks}])
        assert run.ok, run.output
        return [task.result for task in run.of(name)]

    def publish(self, *results: dict[str, Any]) -> None:
        """Write the manifest that the store would have."""
        records = {record["component"]: record for result in results for record in result["components"]}
        entries = [
            {
                **artifact,
                "component": name,
                "plain_size": artifact["size"],
                "plain_sha256": artifact["sha256"],
                "encryption": "none",
                "linked_from": None,
                "seconds": 0,
                "bytes_per_second": 0,
            }
            for name, record in records.items()
            for artifact in record["artifacts"]
        ]
        manifest = {
            "format": 1,
            "id": "20261122T031500Z-7f3a",
            "instance": {
                "name": "x",
                "deployment": "host",
                "authentik_version": None,
                "train": None,
                "install_id_sha256": None,
                "secret_key_fingerprint": records.get("config", {}).get("secret_key_fingerprint"),
            },
            "started": "2026-11-22T03:15:00Z",
            "finished": "2026-11-22T03:15:01Z",
            "seconds": 1,
            "created_by": {"collection": "1", "ansible_core": "2"},
            "artifacts": entries,
            "components": records,
        }
        (self.set / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture
def host(tmp_path: Path, controller: Controller) -> Host:
    return Host(tmp_path, controller)


def test_directories_out_and_back(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    extra = host.base / "logo"
    extra.mkdir()
    (extra / "logo.svg").write_text("<svg/>")
    looked = host.ok("static_dirs", check=True, dest=str(host.set))
    assert not host.set.exists()
    assert looked["components"][0]["state"] == "found"
    options: dict[str, Any] = {"dest": str(host.set), "extra_paths": {"logo": str(extra)}, "compression": "gzip"}
    saved = host.ok("static_dirs", **options)
    assert sorted(path.name for path in (host.set / "static").iterdir()) == ["extra-logo.tar.gz", "media.tar.gz"]
    host.publish(saved)
    before = snapshot(host.media)
    (host.media / "plain.txt").unlink()
    (extra / "logo.svg").write_text("defaced")
    step: dict[str, Any] = {"src": str(host.set), "restore_id": RESTORE_ID, "components": ["extra-logo", "media"]}
    step["paths"] = {"extra-logo": str(host.base / "logo2")}
    checked, pretended, _prepared, swapped = host.steps(
        "static_restore", "check", "check prepare", "prepare", "swap", **step
    )
    one = {**host.instance, **step, "step": "check", "components": ["extra-logo"]}
    with patch_module_args(one), pytest.raises(SystemExit):
        authentik_static_restore.main()
    assert [place["component"] for place in json.loads(capsys.readouterr().out)["components"]] == ["extra-logo"]
    assert (checked["changed"], pretended["changed"], swapped["changed"]) == (False, True, True)
    assert {place["component"]: place["live"] for place in swapped["components"]} == {
        "media": str(host.media),
        "extra-logo": str(host.base / "logo2"),
    }
    assert snapshot(host.media) == before
    assert (host.base / "logo2" / "logo.svg").read_text() == "<svg/>"
    assert (extra / "logo.svg").read_text() == "defaced"
    assert host.steps("static_restore", "undo", **step)[0]["changed"] is True
    assert not (host.base / "logo2").exists()
    assert not (host.media / "plain.txt").exists()


def test_directories_go_where_the_instance_keeps_them(host: Host) -> None:
    host.publish(host.ok("static_dirs", dest=str(host.set)))
    saved = snapshot(host.media)
    data = host.base / "data"
    host.instance["directories"].update(media="", data=str(data))
    host.instance["authentik_version"] = "2025.12.1"
    step: dict[str, Any] = {"src": str(host.set), "restore_id": RESTORE_ID}
    checked, _prepared, swapped = host.steps("static_restore", "check", "prepare", "swap", **step)
    assert "media: this instance keeps it in its directory data, so it goes to %s/media" % data in checked["plan"]
    assert [place["live"] for place in swapped["components"]] == [str(data / "media")]
    assert snapshot(data / "media") == saved
    manifest = json.loads((host.set / "manifest.json").read_text())
    manifest["instance"]["deployment"] = "compose"
    (host.set / "manifest.json").write_text(json.dumps(manifest))
    host.instance["directories"].update(media="", data="")
    failed = host.run("static_restore", step="check", **step)
    assert "Give its path with directories: {media: /path}" in failed.message


def test_components_missing_and_previous(host: Host) -> None:
    host.instance["directories"]["certs"] = str(host.base / "gone")
    result = host.ok("static_dirs", dest=str(host.set), components=["certs"])
    assert [record["state"] for record in result["components"]] == ["missing"]
    failed = host.run("static_dirs", dest=str(host.set), missing="error")
    assert "gone does not exist" in failed.message
    saved = host.ok("static_dirs", dest=str(host.set), components=["media"])["components"][0]
    previous = {"media": {"digest": saved["fingerprint"]["digest"], "set": "20261122T031500Z-7f3a"}}
    again = host.ok("static_dirs", dest=str(host.base / "set2"), components=["media"], previous=previous)
    assert (again["changed"], again["components"][0]["linked"]) == (False, "20261122T031500Z-7f3a")


def test_configuration_out_and_back(host: Host) -> None:
    extra = host.base / "nginx.conf"
    extra.write_text("server {}\n")
    options: dict[str, Any] = {"dest": str(host.set), "extra_files": [str(extra)], "compression": "gzip"}
    saved = host.ok("config", **options)
    assert "the-key" not in json.dumps(saved)
    assert {item["path"] for item in saved["components"][0]["files"]} == {str(host.env), str(extra)}
    assert (host.set / "config" / "config.tar.gz").is_file()
    host.publish(saved)
    extra.unlink()
    host.env.write_text("AUTHENTIK_SECRET_KEY=new\n")
    step: dict[str, Any] = {"src": str(host.set), "restore_id": RESTORE_ID, "work_dir": str(host.base / "work")}
    checked, _prepared, _swapped = host.steps("config_restore", "check", "prepare", "swap", **step)
    assert checked["secret_key"] == "different"
    assert checked["plan"][0].startswith("SECRET KEY DIFFERS")
    assert os.listdir(host.base / "work") == [RESTORE_ID]
    assert (extra.read_text(), host.env.read_text()) == ("server {}\n", "AUTHENTIK_SECRET_KEY=new\n")
    host.steps("config_restore", "undo", **step)
    assert not extra.exists()
    found = host.steps("config_restore", "prepare", "swap", "check", "check undo", **step, overwrite=True)
    assert (found[2]["secret_key"], found[3]["changed"]) == ("same", True)
    assert "the-key" in host.env.read_text()
    host.steps("config_restore", "undo", **step)
    assert host.env.read_text() == "AUTHENTIK_SECRET_KEY=new\n"


@pytest.mark.parametrize("module", ["static_restore", "config_restore"])
def test_a_restore_id_that_is_none_is_refused(host: Host, module: str) -> None:
    saved = host.ok("config" if module == "config_restore" else "static_dirs", dest=str(host.set))
    host.publish(saved)
    failed = host.run(module, src=str(host.set), step="undo", restore_id="../../x")
    assert "../../x" in failed.message
