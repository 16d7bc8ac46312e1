# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration of a compose project: saved with what Compose made of it, laid down elsewhere and changed."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _config, _config_compose
from ansible_collections.authentik_ops.recovery.plugins.module_utils._config_restore import ConfigRestore
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import ComposeProject, Image
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError, StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import DirectorySink, DirectorySource
from ansible_collections.authentik_ops.recovery.plugins.module_utils._process import Completed
from tests.integration.file_trees import snapshot

RESTORE_ID = "20261123T090000Z-11aa"
KEY = "k3y-0f-the-instance"
RESOLVED = b"services: {server: {environment: {AUTHENTIK_SECRET_KEY: %s}}}\n" % KEY.encode()
COMPOSE = """\
services:
  server:
    env_file: [.env, env/more.env]
    volumes: ["./media:/media", "%s/absolute:/blueprints"]
"""


class Project:
    """A compose project that was saved.

    :param linked: the project directory is a symbolic link, as where ``/opt/authentik`` leads to another disk.
    """

    def __init__(self, base: Path, linked: bool = False, env_files: tuple[str, ...] = (".env",)) -> None:
        self.base = base
        self.old = base / "opt" / "authentik"
        self.old.parent.mkdir()
        self.real = base / "disk" / "ak" if linked else self.old
        self.real.mkdir(parents=True)
        if linked:
            self.old.symlink_to(self.real)
        os.chmod(self.real, 0o750)
        (self.old / "compose.yml").write_text(COMPOSE % self.old)
        (self.old / "env").mkdir()
        (self.old / "env" / "more.env").write_text("LOG=info\nPG_PASS=not this\n")
        (self.old / "secret").symlink_to("env/secret.txt")
        (self.old / "env" / "secret.txt").write_text(KEY)
        (self.old / "outside").symlink_to("../shared.pem")
        (self.real.parent / "shared.pem").write_text("pem\n")
        (self.old.parent / "apart.env").write_text("APART=1\n")
        files = [(str(self.old / name), "compose") for name in ("compose.yml", "env/more.env", "secret", "outside")]
        files.append((str(self.old.parent / "apart.env"), "env"))
        if ".env" in env_files:
            (self.old / ".env").write_text("PG_PASS=old # first\nAUTHENTIK_SECRET_KEY=%s\n" % KEY)
            os.chmod(self.old / ".env", 0o640)
            files.append((str(self.old / ".env"), "env"))
        sink = DirectorySink(str(base / "set"))
        self.record = _config.save(files, KEY, sink, "gzip", {"compose.yml": RESOLVED})
        self.record["compose"] = {
            "name": "authentik",
            "directory": str(self.old),
            "real_directory": str(self.real),
            "files": [str(self.old / "compose.yml")],
            "env_files": [str(self.old / name) for name in env_files],
            "profiles": [],
            "images": [],
        }
        self.manifest: dict[str, Any] = {
            "instance": {"secret_key_fingerprint": self.record["secret_key_fingerprint"]},
            "components": {"config": self.record},
            "artifacts": [dict(artifact, component="config") for artifact in self.record["artifacts"]],
        }

    def restore(self, overwrite: bool = False, **options: Any) -> ConfigRestore:
        return ConfigRestore(self.manifest, RESTORE_ID, str(self.base / "work"), overwrite, **options)

    def source(self) -> DirectorySource:
        return DirectorySource(str(self.base / "set"), self.manifest["artifacts"])

    def lay_down(self, **options: Any) -> list[str]:
        """Prepare and swap; returns the plan."""
        plan = self.restore(**options).prepare(self.source())
        self.restore(**options).swap()
        return plan

    def lose(self) -> None:
        subprocess.run(["rm", "-r", *(str(self.base / name) for name in ("opt", "disk"))], check=False)

    def look(self) -> dict[bytes, Any]:
        """Everything but the set, the work folder and the times of folders."""
        found = {
            name: facts for name, facts in snapshot(self.base).items() if name.split(b"/")[0] not in (b"set", b"work")
        }
        for facts in found.values():
            if facts["mode"].startswith("0o4"):
                facts["mtime"] = None
        return found


@pytest.fixture(autouse=True)
def _fewer_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_config, "ITERATIONS", 1000)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_the_resolved_project_is_in_the_archive_alone_and_never_laid_down(project: Project) -> None:
    with tarfile.open(project.base / "set" / "config" / "config.tar.gz") as archive:
        member = archive.getmember(".authentik-recovery/compose.yml")
        stream = archive.extractfile(member)
        assert stream is not None
        assert (stream.read(), member.mode) == (RESOLVED, 0o600)
    assert KEY not in json.dumps(project.record)
    project.lose()
    plan = project.lay_down()
    assert ".authentik-recovery" not in str(plan)
    assert not Path("/.authentik-recovery").exists()


def test_a_project_without_its_files_is_saved_as_resolved(tmp_path: Path) -> None:
    sink = DirectorySink(str(tmp_path / "set"))
    record = _config.save([], KEY, sink, "gzip", {"containers.json": RESOLVED})
    assert record["files"] == []
    # What nobody could lay down again does not count as a place of the key.
    assert any("None of the saved files holds" in warning for warning in record["warnings"])
    with pytest.raises(InputError, match="keeps what is no file of the host"):
        _config.save([("/.authentik-recovery/x", "extra")], KEY, None, "gzip")


@pytest.mark.parametrize("linked", [False, True])
def test_another_directory_gets_the_same_files(tmp_path: Path, linked: bool) -> None:
    project = Project(tmp_path, linked)
    before = snapshot(project.real)
    project.lose()
    lost = project.look()
    new = tmp_path / "srv" / "deep" / "sso"
    options: dict[str, Any] = {"directory": str(new) + "/"}
    changes, said = project.restore(**options).check(project.source())
    assert changes
    assert project.look() == lost
    plan = project.lay_down(**options)
    assert plan == said
    assert "config: the project directory %s becomes %s" % (project.real, new) in plan
    after = snapshot(new)
    assert os.readlink(new / "secret") == "env/secret.txt"
    # A link that led out of the directory still leads there.
    assert os.readlink(new / "outside") == str(project.real.parent / "shared.pem")
    for name in before.keys() - {b"outside", b"."}:
        assert {**after[name], "mtime": 0} == {**before[name], "mtime": 0}, name
    assert after.keys() == before.keys()
    assert (new.stat().st_mode & 0o777, new.parent.stat().st_mode & 0o777) == (0o750, 0o755)
    # What lay outside the project goes where it was.
    assert (tmp_path / "opt" / "apart.env").read_text() == "APART=1\n"
    assert not project.old.exists()
    assert any("%s/compose.yml names the old directory in full" % new in text for text in plan)
    assert not any("more.env names" in text for text in plan)
    project.restore(**options).undo()
    assert project.look() == lost


def test_variables_are_set_in_the_env_file(project: Project) -> None:
    project.lose()
    password = "it's $5 #1"
    plan = project.lay_down(environment={"PG_PASS": password, "COMPOSE_PROJECT_NAME": "drill"})
    assert (project.old / ".env").read_text() == (
        'PG_PASS="it\'s \\$5 #1" # first\nAUTHENTIK_SECRET_KEY=%s\nCOMPOSE_PROJECT_NAME=drill\n' % KEY
    )
    assert (project.old / ".env").stat().st_mode & 0o777 == 0o640
    assert (project.old / "env" / "more.env").read_text() == "LOG=info\nPG_PASS=not this\n"
    assert "config: in %s/.env is set: COMPOSE_PROJECT_NAME, PG_PASS" % project.old in plan
    assert password not in str(plan)
    # What is laid down already needs nothing more.
    assert project.restore(environment={"PG_PASS": password, "COMPOSE_PROJECT_NAME": "drill"}).check(
        project.source()
    ) == ([], ["config: in %s/.env is set: COMPOSE_PROJECT_NAME, PG_PASS" % project.old])
    project.restore().undo()
    assert not (project.old / ".env").exists()


def test_directory_and_variables_together(project: Project) -> None:
    project.lose()
    new = project.base / "srv"
    project.lay_down(directory=str(new), environment={"PG_PASS": "x"})
    assert (new / ".env").read_text().startswith("PG_PASS=x # first\n")
    assert not project.old.exists()


def test_of_several_env_files_the_last_one_gets_all(tmp_path: Path) -> None:
    project = Project(tmp_path, env_files=(".env", "env/more.env"))
    project.lose()
    project.lay_down(environment={"PG_PASS": "x", "NEW": "1"})
    assert "PG_PASS=x # first" in (project.old / ".env").read_text()
    assert "NEW" not in (project.old / ".env").read_text()
    assert (project.old / "env" / "more.env").read_text() == "LOG=info\nPG_PASS=x\nNEW=1\n"


def test_a_project_without_an_env_file_gets_one(tmp_path: Path) -> None:
    project = Project(tmp_path, env_files=())
    project.lose()
    project.lay_down(environment={"PG_PASS": "x"})
    assert (project.old / ".env").read_text() == "PG_PASS=x\n"
    assert (project.old / ".env").stat().st_mode & 0o777 == 0o600
    project.restore(environment={"PG_PASS": "x"}).undo()
    assert not (project.old / ".env").exists()


def test_an_env_file_that_differs_is_not_passed_over(project: Project) -> None:
    (project.old / ".env").write_text("PG_PASS=of this host\n")
    options: dict[str, Any] = {"environment": {"PG_PASS": "x"}}
    with pytest.raises(StateError, match=r"\.env exists and differs.*overwrite: true"):
        project.restore(**options).check(project.source())
    with pytest.raises(StateError, match="overwrite: true"):
        project.restore(**options).prepare(project.source())
    project.lay_down(overwrite=True, **options)
    assert (project.old / ".env").read_text().startswith("PG_PASS=x # first\n")
    project.restore(overwrite=True, **options).undo()
    assert (project.old / ".env").read_text() == "PG_PASS=of this host\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"directory": "srv"}, "'srv' cannot be a project directory"),
        ({"directory": "/"}, "'/' cannot be"),
        ({"environment": {"A B": "x"}}, "'A B' cannot be the name"),
    ],
)
def test_options_that_make_no_sense(project: Project, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        project.restore(**options)


@pytest.mark.parametrize("options", [{"directory": "/srv"}, {"environment": {"A": "x"}}])
def test_a_set_of_no_project_has_no_directory(project: Project, options: dict[str, Any]) -> None:
    del project.record["compose"]
    project.restore()
    with pytest.raises(InputError, match="not of a compose project"):
        project.restore(**options)


class Engine:
    """Takes note of what it is asked, and answers as Docker does."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def compose(self, project: list[str], arguments: list[str]) -> Completed:
        self.asked.append([*project, *arguments])
        return Completed(["docker"], 0, RESOLVED, "")

    def containers(self, *filters: str) -> list[dict[str, Any]]:
        self.asked.append(list(filters))
        return [{"Name": "/ak-server-1", "Config": {"Env": ["PG_PASS=ü"]}}]


def test_what_is_saved_besides_the_files(project: Project) -> None:
    files = (str(project.old / "compose.yml"),)
    described = ComposeProject(("docker",), "ak", str(project.old), files, (str(project.old / ".env"),), ("ldap",))
    engine = Engine()
    assert _config_compose.made_up(engine, described) == ({"compose.yml": RESOLVED}, [])  # type: ignore[arg-type]
    assert engine.asked == [
        ["--project-name", "ak", "--project-directory", str(project.old), "--file", files[0]]
        + ["--env-file", str(project.old / ".env"), "--profile", "ldap", "config"]
    ]
    partly = replace(described, missing_files=("/elsewhere/override.yml",))
    made, warnings = _config_compose.made_up(Engine(), partly)  # type: ignore[arg-type]
    assert list(made) == ["containers.json"], "what Compose makes of a part of its files is not what ran"
    assert "(/elsewhere/override.yml)" in warnings[0]
    assert _config_compose.describe(partly)["missing_files"] == ["/elsewhere/override.yml"]
    project.lose()
    made, warnings = _config_compose.made_up(engine, described)  # type: ignore[arg-type]
    assert json.loads(made["containers.json"])[0]["Config"]["Env"] == ["PG_PASS=ü"]
    assert engine.asked[1] == ["label=com.docker.compose.project=ak"]
    assert "compose files of project ak are not on this host (%s)" % files in warnings[0]
    nothing = ComposeProject(("docker",), "ak", "/data/compose/1")
    assert "are not on this host. " in _config_compose.made_up(engine, nothing)[1][0]  # type: ignore[arg-type]


def test_the_manifest_says_where_a_linked_project_lies(tmp_path: Path) -> None:
    project = Project(tmp_path, linked=True)
    image = Image("server", "x:1", "sha256:1", ("x@sha256:2",))
    described = ComposeProject(("docker",), "ak", str(project.old), images=(image,))
    record = _config_compose.describe(described)
    assert record["real_directory"] == str(project.real)
    assert record["images"] == [{"service": "server", "reference": "x:1", "id": "sha256:1", "digests": ["x@sha256:2"]}]
