# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The two modules that work on the store, run in the process: what each option does, and the spool's options."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from ansible_collections.authentik_ops.recovery.plugins.action import (
    authentik_backup_set,
    authentik_backup_set_copy,
    authentik_backup_set_info,
    authentik_prune,
    authentik_store_info,
    authentik_variables,
)
from ansible_collections.authentik_ops.recovery.plugins.doc_fragments import store, store_s3
from ansible_collections.authentik_ops.recovery.plugins.module_utils import _mounts
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._facts import instance_facts
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import open_store
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._transfer import Spooling, spooling
from tests.support.announce import leave_out

VERSION = {"value": "2025.12.4", "source": "x"}


def act(plugin: Any, check: bool = False, **options: Any) -> dict[str, Any]:
    """Run an action plugin with the options of its task; the host is not there."""
    if options.get("state") == "open":
        options = {"allow_ephemeral": True, **options}
    task = SimpleNamespace(args=options, async_val=0, check_mode=check, diff=True, action=plugin.__name__)
    connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir="none"))
    result: dict[str, Any] = plugin.ActionModule(task, connection, None, None, None, None).run()
    return result


def backup(store: Path, **more: Any) -> Path:
    """Publish a set with one artifact and return its folder."""
    where: dict[str, Any] = {"store": str(store), "instance": "sso"}
    opened = act(authentik_backup_set, **where, state="open")
    partial = open_store(str(store), "sso").partial(opened["id"])
    with partial.sink().artifact("static/media.tar.gz") as out:
        out.write(b"m" * 5000)
    entry = {
        "path": "static/media.tar.gz", "component": "media", "size": out.size, "sha256": out.sha256,
        "plain_size": out.size, "plain_sha256": out.sha256, "compression": "gzip", "encryption": "none",
        "linked_from": None, "tool": None, "seconds": 1, "bytes_per_second": 1,
    }  # fmt: skip
    partial.save_record({"component": "media", "artifacts": [{"path": entry["path"]}], "deployment": "host"}, [entry])
    published = act(authentik_backup_set, **where, state="published", id=opened["id"], **more)
    assert published["changed"], published
    return Path(published["path"])


def test_each_state_of_a_set(tmp_path: Path) -> None:
    path = backup(tmp_path / "store")
    assert path.parent == tmp_path / "store" / "sso"
    where: dict[str, Any] = {"store": str(tmp_path / "store"), "instance": "other"}
    opened = act(authentik_backup_set, **where, state="open")
    assert opened["path"].startswith(str(tmp_path / "store" / "other"))
    assert act(authentik_backup_set, check=True, **where, state="discarded", id=opened["id"])["changed"]
    assert [act(authentik_backup_set, **where, state="discarded", id=opened["id"])["changed"] for _time in "12"] == [
        True,
        False,
    ]


def test_facts_that_are_given_are_in_the_manifest(tmp_path: Path) -> None:
    given = {"deployment": "elsewhere", "authentik_version": VERSION, "install_id_sha256": "a" * 64}
    facts = json.loads((backup(tmp_path, instance_facts=given) / "manifest.json").read_text())["instance"]
    assert facts == {**given, "name": "sso", "train": "2025.12", "secret_key_fingerprint": None}


@pytest.mark.parametrize(
    ("given", "records", "expected"),
    [
        ({}, {}, {"deployment": "host", "authentik_version": None, "train": None}),
        ({}, {"config": {"deployment": "x", "authentik_version": VERSION}}, {"deployment": "x", "train": "2025.12"}),
        ({"deployment": "y", "train": "2026.2"}, {"config": {"deployment": "x", "train": "2025.12"}},
         {"deployment": "y", "train": "2026.2"}),
        ({}, {"a": {}, "config": {"secret_key_fingerprint": {"salt": "0"}}}, {"secret_key_fingerprint": {"salt": "0"}}),
    ],
)  # fmt: skip
def test_facts_that_are_not_given_come_from_the_components(
    given: dict[str, Any], records: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = instance_facts("sso", given, records)
    assert found["name"] == "sso"
    assert {fact: found[fact] for fact in expected} == expected


def test_a_fact_that_has_no_place_is_refused() -> None:
    with pytest.raises(InputError, match=r"holds colour.*deployment"):
        instance_facts("sso", {"colour": "red"}, {})


def test_what_info_lists_and_when_it_reads_the_bytes(tmp_path: Path) -> None:
    first, second = backup(tmp_path), backup(tmp_path)
    artifact = second / "static" / "media.tar.gz"
    artifact.chmod(0o600)
    artifact.write_bytes(b"x" * 5000)
    where: dict[str, Any] = {"store": str(tmp_path), "instance": "sso"}

    def found(**options: Any) -> tuple[list[str], list[str]]:
        result = act(authentik_backup_set_info, **{**where, **options})
        assert not result.get("failed"), result
        return [one["id"] for one in result["sets"]], [one["name"] for one in result["problems"]]

    assert found() == found(verify=False) == ([second.name, first.name], [])
    assert act(authentik_backup_set_info, **where, backup_id="latest")["manifest"]["id"] == second.name
    assert act(authentik_backup_set_info, **where, backup_id=first.name)["manifest"]["id"] == first.name
    for options in ({}, {"backup_id": second.name}):
        checked = act(authentik_backup_set_info, check=True, **where, verify=True, **options)
        assert "SHA-256" in str(checked)
        assert found() == ([second.name, first.name], []), "check mode records nothing"
    assert found(verify=True) == ([first.name], [second.name])
    assert found() == ([first.name], [second.name])
    assert act(authentik_backup_set_info, **where, backup_id=second.name)["failed"]
    assert found(instance="nobody") == ([], [])
    artifact.write_bytes(b"m" * 5000)
    assert found() == ([first.name], [second.name])
    assert found(backup_id=second.name, verify=True) == ([second.name], [])
    assert found() == ([second.name, first.name], [])
    artifact.write_bytes(b"x" * 5000)
    assert found(verify=True) == ([first.name], [second.name])
    artifact.write_bytes(b"m" * 5000)
    assert found(verify=True) == ([second.name, first.name], [])


def test_latest_says_what_it_passed_over(tmp_path: Path) -> None:
    sets = [backup(tmp_path) for _number in range(3)]
    for damaged in (sets[0], sets[2]):
        artifact = damaged / "static" / "media.tar.gz"
        artifact.chmod(0o600)
        artifact.write_bytes(b"")
    where: dict[str, Any] = {"store": str(tmp_path), "instance": "sso"}
    unfinished = act(authentik_backup_set, **where, state="open")["id"]
    found = act(authentik_backup_set_info, **where, backup_id="latest")
    assert found["sets"][0]["id"] == sets[1].name
    assert [one["name"] for one in found["problems"]] == [unfinished + ".partial", sets[2].name]
    (warning,) = found["warnings"]
    assert "%s.partial (being written)" % unfinished in warning
    assert "holds 0 bytes; 5000 were recorded" in warning
    assert sets[0].name not in warning
    assert "warnings" not in act(authentik_backup_set_info, **where, backup_id=sets[1].name)


def test_a_safety_set_is_told_from_a_backup(tmp_path: Path) -> None:
    where: dict[str, Any] = {"store": str(tmp_path), "instance": "sso"}
    restore_id = "20261122T040000Z-1b2c"
    safety = backup(tmp_path, restore_id=restore_id)
    only = act(authentik_backup_set_info, **where, backup_id="latest")
    assert (only["sets"][0]["id"], only["safety_sets"]) == (safety.name, [])
    ordinary, later = backup(tmp_path), backup(tmp_path, restore_id=restore_id)
    found = act(authentik_backup_set_info, **where, backup_id="latest")
    assert found["sets"][0]["id"] == ordinary.name
    assert [(one["id"], one["purpose"], one["restore_id"]) for one in found["safety_sets"]] == [
        (later.name, "safety", restore_id)
    ]
    listed = act(authentik_backup_set_info, **where)["sets"]
    assert [(one["purpose"], one["restore_id"]) for one in listed] == [
        ("safety", restore_id),
        ("backup", None),
        ("safety", restore_id),
    ]
    for damaged in (ordinary, later):
        artifact = damaged / "static" / "media.tar.gz"
        artifact.chmod(0o600)
        artifact.write_bytes(b"")
    (warning,) = act(authentik_backup_set_info, **where, backup_id="latest")["warnings"]
    assert "the latest safety set %s is taken" % safety.name in warning
    assert ordinary.name in warning


@pytest.mark.parametrize(
    ("plugin", "options", "says"),
    [
        (authentik_backup_set, {"state": "published"}, "id"),
        (authentik_backup_set, {"state": "discarded"}, "id"),
        (authentik_backup_set, {"state": "forgotten"}, "state"),
        (authentik_backup_set, {}, "state"),
        (authentik_backup_set_info, {"verify": "perhaps"}, "verify"),
        (authentik_backup_set_info, {"instance": ""}, "instance"),
    ],
)
def test_options_that_make_no_sense_are_named(tmp_path: Path, plugin: Any, options: dict[str, Any], says: str) -> None:
    try:
        result = act(plugin, **{"store": str(tmp_path / "store"), "instance": "sso", **options})
        assert result["failed"]
        message = result["msg"]
    except Exception as exc:  # noqa: BLE001  the kind differs between releases of Ansible
        message = str(exc)
    assert says in message
    assert not (tmp_path / "store").exists()


def test_a_copy_into_memory_is_none_unless_it_is_allowed(tmp_path: Path) -> None:
    memory = Path("/dev/shm")
    if not any(mount.kind == "tmpfs" and mount.point == str(memory) for mount in _mounts.read()):
        leave_out("/dev/shm is not in memory here")
    made = backup(tmp_path / "store")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        where: dict[str, Any] = {"store": str(tmp_path / "store"), "instance": "sso", "to_store": folder}
        refused = act(authentik_backup_set_copy, **where)
        assert refused["failed"]
        assert "lies in memory (tmpfs on /dev/shm)" in refused["msg"]
        assert os.listdir(folder) == []
        assert act(authentik_backup_set_copy, **where, allow_ephemeral=True)["copied"] == [made.name]
        subprocess.run(["chmod", "-R", "u+w", folder], check=True)


@pytest.mark.parametrize(
    "plugin",
    [
        authentik_backup_set,
        authentik_backup_set_copy,
        authentik_backup_set_info,
        authentik_prune,
        authentik_store_info,
        authentik_variables,
    ],
)
def test_the_action_takes_what_the_module_documents(plugin: Any) -> None:
    module = importlib.import_module(plugin.__name__.replace(".action.", ".modules."))
    documented = yaml.safe_load(module.DOCUMENTATION)
    options = documented["options"]
    for name in documented.get("extends_documentation_fragment", []):
        fragment = FRAGMENTS[name]
        options = {**yaml.safe_load(fragment.ModuleDocFragment.DOCUMENTATION)["options"], **options}
    assert as_specs(options) == as_specs(plugin._SPEC)


# What documentation cannot say, or says in words.
UNSAID = ("description", "no_log", "apply_defaults", "required_together", "required_by")
FRAGMENTS = {"authentik_ops.recovery.store": store, "authentik_ops.recovery.store_s3": store_s3}


def as_specs(options: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for name, option in options.items():
        said = {key: value for key, value in option.items() if key not in UNSAID}
        below = said.pop("suboptions", None) or said.pop("options", None)
        found[name] = {**said, "below": as_specs(below)} if below else said
    return found


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, Spooling(64 * 1048576, 4, "/var/tmp")),
        ({"chunk_size": "1M", "window": 2, "spool_dir": "/srv"}, Spooling(1048576, 2, "/srv")),
        ({"chunk_size": 8192, "window": "3"}, Spooling(8192, 3, "/var/tmp")),
    ],
)
def test_options_of_the_spool(arguments: dict[str, Any], expected: Spooling) -> None:
    assert spooling(arguments) == expected
