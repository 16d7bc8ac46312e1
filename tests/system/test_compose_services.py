# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring a real compose project up, stop and start its services; the tests of this file follow one another."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _files
from ansible_collections.authentik_ops.recovery.plugins.modules import authentik_compose_up, authentik_services
from tests.support.docker_engine import PROGRAMS

if TYPE_CHECKING:
    from tests.support.compose_engine import Compose

pytestmark = pytest.mark.system

IMAGES = (
    "docker.io/library/postgres:15-alpine",
    "docker.io/library/redis:alpine",
    "ghcr.io/goauthentik/server:2025.2.4",
)
# No port is published, there are two workers, and what the worker and the server wait for is only there when asked for.
FILE = """\
name: sign-in
services:
  db:
    image: docker.io/library/postgres:${DB_TAG:-15-alpine}
    restart: always
    environment:
      POSTGRES_PASSWORD: ${PG_PASS-}
      POSTGRES_USER: authentik
    volumes: [database:/var/lib/postgresql/data]
  cache:
    image: docker.io/library/redis:alpine
    command: --requirepass secret
    restart: unless-stopped
  web: &authentik
    image: ghcr.io/goauthentik/server:${TAG:-2025.2.4}
    command: server
    restart: unless-stopped
    environment: &environment
      AUTHENTIK_SECRET_KEY: ${SECRET_KEY-key}
      AUTHENTIK_POSTGRESQL__HOST: db
      AUTHENTIK_POSTGRESQL__USER: authentik
      AUTHENTIK_POSTGRESQL__NAME: authentik
      AUTHENTIK_POSTGRESQL__PASSWORD: ${PG_PASS-}
      AUTHENTIK_REDIS__HOST: cache
      AUTHENTIK_REDIS__PASSWORD: secret
    depends_on: [db, cache]
  jobs:
    <<: *authentik
    command: worker
    scale: 2
    restart: always
volumes:
  database:
"""
PG_PASS = "PG_PASS=pass\n"


class Site:
    """The project, looked at past the collection."""

    def __init__(self, compose: Compose, folder: Path) -> None:
        self.compose = compose
        self.engine = compose.engine
        self.folder = folder
        (folder / "compose.yml").write_text(FILE)
        self.set(PG_PASS)

    def set(self, variables: str) -> None:
        """Set the variables of the compose file."""
        (self.folder / ".env").write_text(variables)

    def run(self, *arguments: str) -> str:
        """``docker compose`` as its operator calls it."""
        return self.compose.run(self.folder, arguments)

    def ids(self, *services: str) -> list[str]:
        """The ids of the services' containers."""
        return sorted(self.run("ps", "--all", "--quiet", *services).split())

    def inspect(self, name: str) -> dict[str, Any]:
        """What the engine says of a container."""
        return dict(json.loads(self.engine.run("container", "inspect", name))[0])

    def statuses(self) -> dict[str, str]:
        """The status of each container of the project, by its name without the project's."""
        lines = self.run("ps", "--all", "--format", "{{.Name}} {{.State}}").splitlines()
        return dict(line.replace("sign-in-", "", 1).split() for line in lines)

    def psql(self, sql: str) -> str:
        """Run SQL in the database, over TCP."""
        argv = ["psql", "-XqAt", "-h", "127.0.0.1", "-U", "authentik", "-c", sql]
        return self.engine.run("exec", "--env", "PGPASSWORD=pass", "sign-in-db-1", *argv).strip()


@pytest.fixture(scope="module")
def site(compose: Compose) -> Iterator[Site]:
    for reference in IMAGES:
        compose.images.need(reference)
    made = Site(compose, compose.project("sign-in"))
    yield made
    made.set(PG_PASS)
    made.run("down", "--volumes", "--timeout", "0")
    (made.folder / "compose.yml").unlink()
    (made.folder / ".env").unlink()
    made.folder.rmdir()


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[Any], Run]:
    for name, value in site.compose.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", PROGRAMS)
    monkeypatch.setattr(_files, "default_work_dir", lambda: str(tmp_path / "work"))

    def of(module: Any) -> Run:
        def call(**options: Any) -> dict[str, Any]:
            arguments = {
                "docker_host": "unix://%s" % site.engine.socket,
                "compose_project_directory": str(site.folder),
                "timeout": 60,
                **options,
            }
            capsys.readouterr()
            with patch_module_args(arguments), pytest.raises(SystemExit):
                module.main()
            return dict(json.loads(capsys.readouterr().out))

        return call

    return of


@pytest.fixture
def up(run: Callable[[Any], Run]) -> Run:
    """authentik_compose_up."""
    return run(authentik_compose_up)


@pytest.fixture
def services(run: Callable[[Any], Run]) -> Run:
    """authentik_services."""
    return run(authentik_services)


def test_an_image_that_is_nowhere(site: Site, up: Run) -> None:
    before = site.compose.leftovers()
    site.set(PG_PASS + "TAG=2025.2.99\n")
    try:
        digest = "ghcr.io/goauthentik/server@sha256:" + "ab" * 32
        reference = "ghcr.io/goauthentik/server:2025.2.99"
        result = up(images=[{"service": "web", "reference": reference, "digests": [digest]}])
        assert "The image %s of jobs, web is not on this host" % reference in result["msg"]
        assert result["next_command"] == "docker pull {0} && docker tag {0} {1}".format(digest, reference)
        assert site.compose.leftovers() == before
    finally:
        site.set(PG_PASS)


def test_a_database_that_cannot_start(site: Site, up: Run) -> None:
    site.set("")
    try:
        result = up()
        assert "db failed while it was starting. Its container sign-in-db-1" in result["msg"]
        assert "superuser password is not specified" in result["msg"]
        assert result["next_command"].endswith("logs --tail 100 sign-in-db-1")
    finally:
        site.run("down", "--volumes", "--timeout", "0")
        site.set(PG_PASS)


def test_an_empty_host(site: Site, up: Run) -> None:
    before = site.compose.leftovers()
    checked = up(_ansible_check_mode=True)
    assert site.compose.leftovers() == before
    result = up()
    # At its first start the database answers on its socket, ends, and starts again: over TCP once it stays.
    assert site.psql("SELECT count(*) FROM pg_database WHERE datname = 'authentik'") == "1"
    assert site.statuses() == {
        "db-1": "running",
        "cache-1": "running",
        "web-1": "created",
        "jobs-1": "created",
        "jobs-2": "created",
    }
    for answer in (checked, result):
        assert answer["changed"] is True
        assert answer["started"] == ["db", "cache"]
        assert answer["created"] == {
            "services": ["cache", "db", "jobs", "web"],
            "networks": ["sign-in_default"],
            "volumes": ["sign-in_database"],
        }
    assert [item["after"] for item in result["services"]] == ["active", "active"]
    ids = site.ids()
    assert up()["changed"] is False
    assert site.ids() == ids


def test_what_is_there_stays(site: Site, up: Run) -> None:
    site.psql("CREATE TABLE kept AS SELECT 42 AS answer")
    site.run("down", "--timeout", "10")
    assert up()["created"]["volumes"] == []
    assert site.psql("SELECT answer FROM kept") == "42"
    # Only stopped, or paused.
    ids = site.ids()
    site.run("stop", "db")
    site.run("pause", "cache")
    assert up(_ansible_check_mode=True)["started"] == ["db", "cache"]
    assert up()["started"] == ["db", "cache"]
    assert site.psql("SELECT answer FROM kept") == "42"
    assert site.ids() == ids
    # A file that was edited since is the operator's to apply.
    text = (site.folder / "compose.yml").read_text()
    (site.folder / "compose.yml").write_text(text.replace("POSTGRES_USER:", "OTHER: x\n      POSTGRES_USER:"))
    site.set(PG_PASS + "DB_TAG=16-alpine\n")
    site.run("rm", "--force", "jobs")
    assert up()["created"]["services"] == ["jobs"]
    assert site.ids("db")[0] in ids
    (site.folder / "compose.yml").write_text(text)
    site.set(PG_PASS)


def test_the_server_first_and_the_outpost_last(site: Site, services: Run) -> None:
    outpost = site.engine.create(
        *("--name", "ak-outpost-ldap", "--label", "io.goauthentik.outpost-uuid=4711", "--network", "sign-in_default"),
        *("--restart", "unless-stopped", "--init", "--entrypoint", "sleep", IMAGES[2], "9999"),
    )
    ids = site.ids()
    started = services(state="started")
    assert started["ready_seconds"] > 0
    assert set(site.statuses().values()) == {"running"}
    assert services(state="started")["changed"] is False
    checked = services(state="stopped", _ansible_check_mode=True)
    stopped = services(state="stopped")
    assert checked["was_active"] == stopped["was_active"] == ["ak-outpost-ldap", "jobs", "web"]
    assert {item["after"] for item in checked["services"]} == {"inactive"}
    assert {item["after"] for item in stopped["services"]} == {"inactive"}
    ended = [site.inspect(name)["State"]["FinishedAt"] for name in (outpost, "sign-in-jobs-1", "sign-in-web-1")]
    assert ended == sorted(ended)
    # No restart policy starts them, and the database goes on.
    time.sleep(2)
    assert site.statuses() == {
        "db-1": "running",
        "cache-1": "running",
        "web-1": "exited",
        "jobs-1": "exited",
        "jobs-2": "exited",
    }
    assert services(state="stopped")["changed"] is False
    services(state="started", units=stopped["was_active"])
    began = [site.inspect(name)["State"]["StartedAt"] for name in ("sign-in-web-1", "sign-in-jobs-2", outpost)]
    assert began == sorted(began)
    assert site.ids() == ids
    site.engine.remove(outpost)


def test_a_service_that_has_no_container(site: Site, services: Run) -> None:
    site.run("rm", "--stop", "--force", "jobs")
    others = site.ids("web", "db", "cache")
    assert services(state="started", _ansible_check_mode=True)["changed"] is True
    assert site.ids("jobs") == []
    assert services(state="started")["changed"] is True
    assert len(site.ids("jobs")) == 2
    assert site.ids("web", "db", "cache") == others


def test_a_paused_worker_is_stopped_and_started(site: Site, services: Run) -> None:
    site.run("pause", "jobs")
    stopped = services(state="stopped", units=["jobs"])
    assert stopped["services"] == [{"name": "jobs", "role": "worker", "before": "paused", "after": "inactive"}]
    services(state="started", units=["jobs"])
    site.run("pause", "jobs")
    services(state="started", units=["jobs"])
    assert [site.statuses()[name] for name in ("jobs-1", "jobs-2")] == ["running", "running"]


def test_a_server_that_crashes_over_and_over(site: Site, services: Run) -> None:
    site.run("rm", "--stop", "--force", "web", "jobs")
    site.set(PG_PASS + "SECRET_KEY=\n")
    try:
        site.run("create", "--no-recreate", "web", "jobs")
        began = time.monotonic()
        result = services(state="started")
        assert time.monotonic() - began < 30
        assert "web failed while it was starting" in result["msg"]
        assert "Secret key missing" in result["msg"]
        assert site.statuses()["jobs-1"] == "created"
        # What Docker starts over and over again is stopped for good.
        site.run("start", "jobs")
        time.sleep(2)
        services(state="stopped")
        time.sleep(2)
        assert {site.statuses()[name] for name in ("web-1", "jobs-1", "jobs-2")} == {"exited"}
    finally:
        site.set(PG_PASS)
        site.run("rm", "--stop", "--force", "web", "jobs")


def test_the_server_of_another_project_goes_on(site: Site, services: Run) -> None:
    services(state="started")
    site.run("--project-name", "other", "up", "--detach", "--no-deps", "web")
    try:
        services(state="stopped", remember=True, compose_project_name="sign-in")
        assert site.inspect("other-web-1")["State"]["Running"] is True
        assert services(state="stopped", remember=True, compose_project_name="other")["was_active"] == ["web"]
        again = services(state="stopped", remember=True, compose_project_name="sign-in")
        assert (again["changed"], again["was_active"]) == (False, ["jobs", "web"])
    finally:
        site.run("--project-name", "other", "down", "--timeout", "0")
