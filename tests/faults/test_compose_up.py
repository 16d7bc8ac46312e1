# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""authentik_compose_up with a stand-in for the engine: what it refuses, what it waits for, what it leaves alone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _compose_up
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment import _discover, _system
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import (
    ComposeProject,
    Instance,
    PostgresSettings,
    RedisSettings,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import ConnectError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._client import CommandError
from ansible_collections.authentik_ops.recovery.plugins.modules import authentik_compose_up
from tests.support.fake_docker import FakeDocker, document

POSTGRES, SERVER = "docker.io/library/postgres:16-alpine", "ghcr.io/goauthentik/server:2025.12.4"
DIGEST = "ghcr.io/goauthentik/server@sha256:" + "5e" * 32
RECORDED = {"service": "server", "reference": SERVER, "id": "sha256:0a", "digests": [DIGEST]}
MODEL: dict[str, Any] = {
    "name": "sso",
    "services": {
        "db": {
            "image": POSTGRES,
            "networks": {"default": None},
            "volumes": [{"type": "volume", "source": "database", "target": "/var/lib/postgresql/data"}],
        },
        "server": {"image": SERVER, "networks": {"default": None}},
        "worker": {"image": SERVER, "networks": {"default": None}},
        "never": {"image": "unknown:1", "deploy": {"replicas": 0}},
    },
    "networks": {"default": {"name": "sso_default"}},
    "volumes": {"database": {"name": "sso_database"}},
}


class Site:
    """An empty host on which the files of the project ``sso`` lie, and images of what it runs."""

    def __init__(self, path: Path) -> None:
        self.engine = FakeDocker(path)
        project = ComposeProject(
            (str(self.engine.bin / "docker"),), "sso", "/opt/sso", ("/opt/sso/compose.yml",), postgresql_service="db"
        )
        postgresql = PostgresSettings("", 5433, "authentik", "authentik")
        self.instance = Instance(deployment="compose", compose=project, postgresql=postgresql)
        self.images = [
            {"Id": "sha256:01", "RepoTags": [POSTGRES], "RepoDigests": []},
            {"Id": "sha256:0a", "RepoTags": [SERVER], "RepoDigests": [DIGEST]},
        ]
        self.put_model(MODEL)
        self.put_images(self.images)
        made = []
        for service in ("db", "server", "worker"):
            labels = {"com.docker.compose.project": "sso", "com.docker.compose.service": service}
            made.append(document("sso-%s-1" % service, labels, Status="created"))
        self.engine.put("made", json.dumps(made))

    def put_model(self, model: dict[str, Any]) -> None:
        self.engine.put("model", json.dumps(model))

    def put_images(self, images: list[dict[str, Any]]) -> None:
        self.engine.put("image", json.dumps(images))

    def use_redis(self) -> None:
        """Let the project have a Redis server, and the instance use it."""
        assert self.instance.compose is not None
        project = replace(self.instance.compose, redis_service="cache")
        settings = RedisSettings("cache", 6379, password="secret")
        self.instance = replace(self.instance, compose=project, redis=settings)
        self.engine.add("sso-db-1", "db")
        self.engine.add("sso-cache-1", "cache")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    made = Site(tmp_path)
    for name in ("DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(made.engine.bin), prepend=os.pathsep)
    monkeypatch.setattr(_system, "ROOT", str(tmp_path))
    monkeypatch.setattr(_compose_up, "_POLL_SECONDS", 0.02)
    monkeypatch.setattr(_discover, "discover", lambda *_arguments: made.instance)
    return made


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(site: Site, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(**options: Any) -> dict[str, Any]:
        with patch_module_args({"timeout": 120, **options}), pytest.raises(SystemExit):
            authentik_compose_up.main()
        return dict(json.loads(capsys.readouterr().out))

    return call


def test_what_is_made_and_started(site: Site, run: Run) -> None:
    checked = run(_ansible_check_mode=True)
    assert site.engine.log == []
    site.engine.put("exec", "sso-db-1", "2 no response\n1 rejecting connections\n0 accepting connections")
    result = run()
    assert site.engine.log == [
        "compose create --no-recreate --no-build --pull never",
        "start sso-db-1",
        *["exec sso-db-1 pg_isready -h 127.0.0.1 -p 5433"] * 3,
    ]
    assert result["created"] == {
        "services": ["db", "server", "worker"],
        "networks": ["sso_default"],
        "volumes": ["sso_database"],
    }
    assert result["started"] == ["db"]
    assert checked["services"][0] == {
        "name": "db", "role": "postgresql", "before": "absent", "after": "active", "ready_seconds": None
    }  # fmt: skip
    assert result["services"][0]["ready_seconds"] > 0
    assert {key: checked[key] for key in ("created", "started", "changed")} == {
        key: result[key] for key in ("created", "started", "changed")
    }
    assert checked["diff"]["after"]["service worker"] == result["diff"]["after"]["service worker"] == "inactive"
    assert result["diff"]["before"]["volume sso_database"] == "absent"


def test_what_is_there_is_left_alone(site: Site, run: Run) -> None:
    site.engine.add("sso-db-1", "db")
    site.engine.add("sso-server-1", "server", Status="exited", ExitCode=0)
    site.engine.add("sso-worker-1", "worker", Status="exited", ExitCode=0)
    site.engine.put("network", json.dumps([{"Id": "n", "Name": "sso_default"}]))
    site.engine.put("volume", json.dumps([{"Name": "sso_database"}]))
    # The images may be gone from under their names: the containers have them.
    site.put_images([])
    assert run()["changed"] is False
    site.engine.change("sso-db-1", Status="exited", ExitCode=0)
    assert run(_ansible_check_mode=True)["started"] == ["db"]
    result = run()
    assert (result["changed"], result["started"], result["created"]["services"]) == (True, ["db"], [])
    assert [line for line in site.engine.log if not line.startswith("exec")] == ["start sso-db-1"]


def test_an_image_that_is_not_there(site: Site, run: Run) -> None:
    site.put_images(site.images[:1])
    for check_mode in (True, False):
        result = run(images=[RECORDED], _ansible_check_mode=check_mode)
        assert result["error"] == "InputError"
        assert "The image %s of server, worker is not on this host" % SERVER in result["msg"]
        assert "made with %s" % DIGEST in result["msg"]
        assert "docker load" in result["hint"]
        assert result["next_command"] == "docker pull {0} && docker tag {0} {1}".format(DIGEST, SERVER)
    assert site.engine.log == []
    # What was recorded of another tag says nothing of this one.
    other = {**RECORDED, "reference": "ghcr.io/goauthentik/server:2025.10.1"}
    assert run(images=[other])["next_command"] == "docker pull %s" % SERVER
    assert run()["next_command"] == "docker pull %s" % SERVER
    # The very image is there, and lost its name.
    site.put_images([*site.images[:1], {"Id": "sha256:0a", "RepoTags": []}])
    assert run(images=[RECORDED])["next_command"] == "docker tag sha256:0a %s" % SERVER


def test_another_image_of_the_same_name(site: Site, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    # Within this process Ansible may take itself for the controller, which shows warnings rather than return them.
    monkeypatch.setattr(AnsibleModule, "warn", lambda _module, text, **_details: warnings.append(text))
    site.put_images([site.images[0], {"Id": "sha256:ff", "RepoTags": [SERVER], "RepoDigests": ["x@sha256:ff"]}])
    said = "The image %s on this host is not the one that the backup set was made with (%s)" % (SERVER, DIGEST)
    run(images=[{**RECORDED, "id": "sha256:ff"}], _ansible_check_mode=True)
    assert warnings == []
    assert run(images=[RECORDED])["changed"] is True
    assert warnings == [said]


@pytest.mark.parametrize("kind", ["network", "volume"])
def test_something_external_that_is_not_there(site: Site, run: Run, kind: str) -> None:
    key = {"network": "default", "volume": "database"}[kind]
    site.put_model({**MODEL, kind + "s": {key: {"name": "shared", "external": True}}})
    result = run()
    assert "needs the external %s shared, which this host does not have" % kind in result["msg"]
    assert result["next_command"] == "docker %s create shared" % kind
    assert site.engine.log == []


def test_compose_fails(site: Site, run: Run) -> None:
    site.engine.put("fail", "compose", "Error response from daemon: invalid mount config")
    result = run()
    assert result["error"] == "ToolError"
    assert "invalid mount config" in result["msg"]


@pytest.mark.parametrize(
    "state",
    [
        {"Status": "exited", "ExitCode": 1},
        {"Status": "restarting", "Running": True, "Restarting": True, "ExitCode": 1, "RestartCount": 1},
    ],
)
def test_a_database_that_does_not_start(site: Site, run: Run, state: dict[str, Any]) -> None:
    site.engine.put("becomes", "start", "sso-db-1", json.dumps(state))
    site.engine.put("exec", "sso-db-1", "1 is not running")
    result = run()
    assert result["msg"].startswith("db failed while it was starting. Its container sso-db-1 ended with exit status 1")
    assert "and then there was no cheese" in result["msg"]
    assert result["next_command"].endswith("docker logs --tail 100 sso-db-1")


def test_a_database_that_never_accepts(site: Site, run: Run) -> None:
    site.engine.put("exec", "sso-db-1", "1 127.0.0.1:5433 - rejecting connections")
    result = run(timeout=2)
    assert "db did not accept connections within 2 s: 127.0.0.1:5433 - rejecting connections" in result["msg"]
    assert "and then there was no cheese" in result["msg"]
    assert "timeout" in result["hint"]


def test_a_service_that_is_no_database(site: Site, run: Run) -> None:
    site.engine.put("exec", "sso-db-1", "127 pg_isready: executable file not found")
    result = run()
    assert "pg_isready cannot be run in container sso-db-1" in result["msg"]
    assert "postgresql_service" in result["hint"]


def test_a_database_that_ends_while_it_is_asked(site: Site, run: Run) -> None:
    site.engine.put("exec", "sso-db-1", "126 cannot exec in a stopped container\n127\n0 accepting connections")
    assert run()["started"] == ["db"]


def test_redis_is_waited_for_at_its_address_of_now(site: Site, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    site.use_redis()
    site.engine.change("sso-cache-1", Status="exited", ExitCode=0)
    asked: list[str] = []
    answers: list[Exception | None] = [
        ConnectError("Redis at 127.0.0.1:6379 cannot be reached: refused"),
        ConnectError("Redis at 127.0.0.1:6379 refused PING: LOADING Redis is loading the dataset in memory"),
        None,
    ]

    class Client:
        def __init__(self, settings: RedisSettings, reply_seconds: float) -> None:
            asked.append("%s %s" % (settings.host, settings.password))

        def __enter__(self) -> object:
            return self

        def __exit__(self, *_exc: object) -> None:
            """Nothing to close."""

        def command(self, name: str) -> None:
            asked.append(name)
            answer = answers.pop(0)
            if answer:
                raise answer

    monkeypatch.setattr(_compose_up, "Client", Client)
    assert run()["started"] == ["cache"]
    assert asked == ["127.0.0.1 secret", "PING"] * 3
    answers.append(CommandError("Redis refused PING", "", "NOPERM", "NOPERM"))
    assert run()["changed"] is True  # The services of authentik itself have no containers yet.
    answers.append(ConnectError("Redis at 127.0.0.1:6379 refused the login: WRONGPASS invalid username"))
    result = run()
    assert (result["error"], "WRONGPASS" in result["msg"]) == ("ConnectError", True)


def test_a_redis_that_authentik_does_not_use_stays_as_it_is(site: Site, run: Run) -> None:
    site.use_redis()
    site.engine.change("sso-cache-1", Status="exited", ExitCode=0)
    site.instance = replace(site.instance, redis=None)
    assert run()["started"] == []
    assert site.engine.status("sso-cache-1") == "exited"


def test_a_database_outside_the_project(site: Site, run: Run) -> None:
    assert site.instance.compose is not None
    site.instance = replace(site.instance, compose=replace(site.instance.compose, postgresql_service=""))
    result = run()
    assert (result["services"], result["started"]) == ([], [])
    assert site.engine.log == ["compose create --no-recreate --no-build --pull never"]


def test_a_database_that_no_profile_asks_for(site: Site, run: Run) -> None:
    services = {name: item for name, item in MODEL["services"].items() if name != "db"}
    site.put_model({**MODEL, "services": services})
    result = run()
    assert "Compose would not run the service db, which has no container either" in result["msg"]
    assert "compose_profiles" in result["hint"]


def test_a_project_whose_files_are_elsewhere(site: Site, run: Run) -> None:
    assert site.instance.compose is not None
    site.instance = replace(site.instance, compose=replace(site.instance.compose, files=()))
    site.engine.add("sso-db-1", "db", Status="exited", ExitCode=0)
    result = run()
    assert (result["started"], result["created"]["services"]) == (["db"], [])


def test_an_instance_that_is_no_project(site: Site, run: Run) -> None:
    site.instance = Instance()
    result = run()
    assert "is no compose project" in result["msg"]
    assert "compose_project_directory" in result["hint"]
