# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets of another authentik version than the installed one, on a real server: they are judged before all else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import authentik_data, oracle
from tests.support.pg_sets import SUFFIX, make_set, read_manifest, restore
from tests.support.postgres import Database, Server


def installed(folder: Path, version: str) -> str:
    """Lay out authentik's code as far as it tells its version; return its folder."""
    (folder / "authentik").mkdir(parents=True)
    (folder / "authentik" / "__init__.py").write_text('"""authentik"""\n\nVERSION = "%s"\n' % version)
    return str(folder)


def set_of(folder: Path, database: Database, version: str, **options: Any) -> Path:
    """Make a set that says to be of a version."""
    made = make_set(folder, database, **options)
    manifest = read_manifest(made)
    manifest["instance"]["authentik_version"] = {"value": version, "source": "history"}
    (made / "manifest.json").write_text(json.dumps(manifest))
    return made


@pytest.fixture
def filled(database18: Database) -> Database:
    """A plain owner's database that authentik 2025.12.4 used last."""
    authentik_data.load(database18.psql, rows=30)
    return database18


@pytest.mark.parametrize(
    ("code", "policy", "message"),
    [
        ("2026.5.2", "same_train", "upgrade by way of 2026.2, 2026.5"),
        ("2026.5.2", "ladder", "upgrade by way of 2026.2, 2026.5"),
        ("2026.2.0", "same_train", "version_policy=ladder"),
        ("2025.10.3", "ladder", "install the latest 2025.12 without starting it"),
    ],
)
def test_another_train_is_refused_and_nothing_is_touched(
    filled: Database, tmp_path: Path, code: str, policy: str, message: str
) -> None:
    folder = set_of(tmp_path / "set", filled, "2025.12.4")
    filled.psql("DELETE FROM authentik_core_token")
    picture = oracle.take(filled.server, "authentik")
    options: dict[str, Any] = {"working_directory": installed(tmp_path / "code", code), "version_policy": policy}
    for step, check in (("check", False), ("check", True), ("prepare", True), ("prepare", False)):
        result = restore(filled, step, folder, check=check, **options)
        assert result["failed"], step
        assert message in result["msg"]
        assert "nothing was changed" in result["msg"] + str(result.get("hint"))
        assert filled.server.databases() == ["authentik"]
    assert oracle.differences(picture, oracle.take(filled.server, "authentik")) == []


@pytest.mark.parametrize(
    ("code", "policy", "planned"),
    [
        ("2025.12.9", "same_train", "one release train"),
        ("2026.2.0", "ladder", "authentik upgrades the restored database itself"),
        ("2026.8.1", "force", "refuse to start"),
        ("2025.8.1", "force", "tables that it does not know"),
    ],
)
def test_what_the_policy_allows_is_restored_and_planned(
    filled: Database, tmp_path: Path, code: str, policy: str, planned: str
) -> None:
    folder = set_of(tmp_path / "set", filled, "2025.12.4")
    options: dict[str, Any] = {"working_directory": installed(tmp_path / "code", code), "version_policy": policy}
    plan = restore(filled, "check", folder, **options)["plan"]
    assert any(planned in line for line in plan), plan
    result = restore(filled, "prepare", folder, **options)
    assert not result.get("failed"), result
    assert filled.server.databases() == ["authentik", "authentik_new_" + SUFFIX]
    assert any(planned in str(warning) for warning in result.get("warnings", [])) is (policy == "force")


def test_the_live_databases_history_does_not_count_as_installed(filled: Database, tmp_path: Path) -> None:
    folder = set_of(tmp_path / "set", filled, "2025.10.1")
    result = restore(filled, "check", folder, working_directory=str(tmp_path))
    assert not result.get("failed"), result
    (line,) = [line for line in result["plan"] if "were not compared" in line]
    assert "see that authentik 2025.10 is installed" in line
    assert "last used by 2025.12.4" in line


def test_the_version_that_was_named_is_the_installed_one(filled: Database, tmp_path: Path) -> None:
    folder = set_of(tmp_path / "set", filled, "2025.10.1")
    result = restore(filled, "check", folder, authentik_version="2026.2.1")
    assert "option authentik_version" in result["msg"]
    assert "2025.12, 2026.2" in result["msg"]


def test_other_databases_of_a_set_are_not_authentiks(fresh18: Server, tmp_path: Path) -> None:
    own = fresh18.create_database(superuser=True)
    fresh18.create_database("wiki", "wiki").psql("CREATE TABLE page (title text)")
    folder = set_of(tmp_path / "set", own, "2025.10.1", method="dumpall")
    login: dict[str, Any] = {"admin_user": None, "admin_password": None, "authentik_version": "2026.2.1"}
    assert not restore(own, "check", folder, databases=["wiki"], **login).get("failed")
    assert restore(own, "check", folder, databases=["authentik", "wiki"], **login)["failed"]
