# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""authentik_services on a compose project, with a stand-in for the engine: order, waiting, and what can go wrong.

What a real engine does with a stop is for the system tests.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _files
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment import (
    _discover,
    _docker_services,
    _services,
    _system,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import (
    ComposeProject,
    Instance,
    Unit,
)
from ansible_collections.authentik_ops.recovery.plugins.modules import authentik_services
from tests.support.fake_docker import FakeDocker

LDAP = "ak-outpost-ldap"
RUNNING = {"Status": "running", "Running": True}
CRASHED = {"Status": "exited", "ExitCode": 1}
LOOPING = {"Status": "restarting", "Running": True, "Restarting": True, "ExitCode": 1, "RestartCount": 2}


class Site:
    """A project ``sso`` and an outpost beside it, on an engine that is none, and a server that answers for it."""

    def __init__(self, path: Path) -> None:
        self.engine = FakeDocker(path)
        self.root = path / "root"
        self.root.mkdir()
        self.engine.add("sso-server-1", "server")
        self.engine.add("sso-worker-1", "worker")
        self.engine.add_labelled(LDAP, {"io.goauthentik.outpost-uuid": "a1"})
        # Nobody may touch these.
        self.engine.add("sso-worker-run-1", "worker", oneoff=True)
        self.engine.add("other-server-1", "server", project="other")
        self.project = "sso"
        self.docker_host: str | None = None
        self.answers = [200]
        self.port = 0
        self.outposts = [Unit(LDAP, "outpost", containers=(LDAP * 2,))]

    def instance(self, health_url: str = "") -> Instance:
        docker = (str(self.engine.bin / "docker"), *(("--host", self.docker_host) if self.docker_host else ()))
        project = ComposeProject(docker, self.project, "/opt/sso", ("/opt/sso/compose.yml",), server_port=self.port)
        return Instance(
            deployment="compose",
            compose=project,
            units=(Unit("server", "server"), Unit("worker", "worker"), *self.outposts),
            health_url=health_url,
        )

    def answer(self) -> int:
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        with (self.engine.here / "log").open("a") as log:
            log.write("answered %d\n" % status)
        return status


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    made = Site(tmp_path)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(made.answer() if self.path == "/-/health/ready/" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    made.port = server.server_port
    for name in ("DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(made.engine.bin), prepend=os.pathsep)
    monkeypatch.setattr(_system, "ROOT", str(made.root))
    monkeypatch.setattr(_files, "default_work_dir", lambda: "/var/lib/authentik-recovery")
    monkeypatch.setattr(_services, "_POLL_SECONDS", 0.02)
    monkeypatch.setattr(_docker_services.DockerServices, "settle_seconds", 0.1)
    monkeypatch.setattr(_discover, "discover", lambda params, *_rest: made.instance(params["health_url"] or ""))
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(site: Site, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(state: str, **options: Any) -> dict[str, Any]:
        with patch_module_args({"state": state, "timeout": 10, **options}), pytest.raises(SystemExit):
            authentik_services.main()
        return dict(json.loads(capsys.readouterr().out))

    return call


def stop(name: str, seconds: int = 30) -> str:
    return "stop -t %d %s" % (seconds, name)


def test_the_order_and_what_is_left_alone(site: Site, run: Run) -> None:
    stopped = run("stopped")
    assert site.engine.log == [stop(LDAP), stop("sso-worker-1"), stop("sso-server-1")]
    assert stopped["was_active"] == [LDAP, "worker", "server"]
    assert [item["after"] for item in stopped["services"]] == ["inactive"] * 3
    assert run("stopped")["changed"] is False
    site.answers = [503, 200]
    started = run("started")
    assert site.engine.log[3:] == [
        "start sso-server-1",
        "answered 503",
        "answered 200",
        "start sso-worker-1",
        "start " + LDAP,
    ]
    assert (started["changed"], started["was_active"]) == (True, [])
    assert run("started")["changed"] is False
    assert {site.engine.status(name) for name in ("sso-worker-run-1", "other-server-1")} == {"running"}


def test_names_choose_services(site: Site, run: Run) -> None:
    run("stopped", units=["worker"])
    assert site.engine.log == [stop("sso-worker-1")]
    result = run("stopped", units=["other-server-1"])
    assert "other-server-1 is no service of this authentik instance" in result["msg"]
    assert "server, worker, " + LDAP in result["hint"]
    assert "server_service" in result["hint"]
    assert run("started", units=[])["changed"] is False


def test_a_stop_grace_period_is_kept(site: Site, run: Run) -> None:
    containers = site.engine.containers
    containers[1]["Config"]["StopTimeout"] = 90
    site.engine.save(containers)
    run("stopped", units=["worker"])
    assert site.engine.log == [stop("sso-worker-1", 90)]


def test_every_container_of_a_scaled_service(site: Site, run: Run) -> None:
    site.engine.add("sso-worker-2", "worker", Status="exited", ExitCode=1)
    site.engine.add("sso-worker-3", "worker")
    assert {"name": "worker", "role": "worker", "before": "activating", "after": "inactive"} in run(
        "stopped", _ansible_check_mode=True
    )["services"]
    run("stopped", units=["worker"])
    assert site.engine.log == [stop("sso-worker-1"), stop("sso-worker-3")]
    run("started", units=["worker"])
    assert site.engine.log[2:] == ["start sso-worker-%d" % number for number in (1, 2, 3)]


def test_every_server_has_to_be_ready(site: Site, run: Run) -> None:
    site.engine.add("sso-server-2", "server")
    site.answers = [200, 503, 200, 200]
    assert run("started")["ready_seconds"] >= 0
    assert site.engine.log == ["answered %d" % status for status in (200, 503, 200, 200)]


def test_a_service_without_containers_gets_them_from_compose(site: Site, run: Run) -> None:
    site.engine.save([item for item in site.engine.containers if item["Name"] != "/sso-worker-1"])
    assert run("stopped", units=["worker"])["changed"] is False
    site.engine.put("made", json.dumps([{**site.engine.containers[0], "Id": "new", "Name": "/sso-worker-1"}]))
    made = json.loads((site.engine.here / "made").read_text())
    made[0]["Config"]["Labels"]["com.docker.compose.service"] = "worker"
    site.engine.put("made", json.dumps(made))
    assert run("started", units=["worker"])["changed"] is True
    assert site.engine.log == ["compose up --detach --no-deps --no-recreate --no-build --pull never worker"]


def test_compose_cannot_make_it(site: Site, run: Run) -> None:
    site.engine.save([])
    site.engine.put("fail", "compose", "Error response from daemon: No such image: server:2025.12")
    result = run("started", units=["server"])
    assert result["error"] == "ToolError"
    assert "No such image: server:2025.12. It has no container" in result["msg"]
    assert "compose --project-name sso --project-directory /opt/sso --file /opt/sso/compose.yml up" in result["msg"]
    assert "label=com.docker.compose.project=sso" in result["next_command"]


def test_a_server_that_crashes_over_and_over(site: Site, run: Run) -> None:
    run("stopped")
    site.engine.put("becomes", "start", "sso-server-1", json.dumps(LOOPING))
    site.answers = [503]
    result = run("started")
    assert result["msg"].startswith(
        "server failed while it was starting. Its container sso-server-1 ended with exit status 1. "
        "Its log ends: there was cheese\nand then there was no cheese"
    )
    assert result["next_command"].endswith("docker logs --tail 100 sso-server-1")
    assert site.engine.status("sso-worker-1") == "exited"


def test_a_restart_of_long_ago_is_no_crash(site: Site, run: Run) -> None:
    site.engine.change("sso-server-1", **RUNNING, RestartCount=4)
    site.answers = [503, 503, 200]
    assert run("started", units=["server"])["ready_seconds"] > 0


def test_a_restart_between_two_looks_is_a_crash(site: Site, run: Run) -> None:
    run("stopped")
    site.engine.put("becomes", "start", "sso-server-1", json.dumps({**RUNNING, "RestartCount": 1}))
    site.answers = [503]
    assert "server failed while it was starting" in run("started")["msg"]


@pytest.mark.parametrize("becomes", [CRASHED, LOOPING, {**CRASHED, "ExitCode": 0}])
def test_a_worker_that_dies_at_once(site: Site, run: Run, becomes: dict[str, Any]) -> None:
    run("stopped")
    site.engine.put("becomes", "start", "sso-worker-1", json.dumps(becomes))
    result = run("started")
    assert "worker was started but does not run" in result["msg"]
    assert "and then there was no cheese" in result["msg"]


def test_one_that_docker_restarts_is_stopped_first(site: Site, run: Run) -> None:
    site.engine.change("sso-worker-1", **LOOPING)
    run("started", units=["worker"])
    assert site.engine.log == ["stop -t 0 sso-worker-1", "start sso-worker-1"]
    site.engine.change("sso-worker-1", **LOOPING)
    assert run("stopped")["was_active"] == [LDAP, "worker", "server"]
    assert site.engine.status("sso-worker-1") == "exited"


def test_a_paused_container(site: Site, run: Run) -> None:
    site.engine.change("sso-worker-1", Status="paused", Running=True, Paused=True)
    checked = run("stopped", units=["worker"], _ansible_check_mode=True)
    assert (checked["changed"], checked["services"][0]["before"]) == (True, "paused")
    run("started", units=["worker"])
    assert site.engine.log == ["unpause sso-worker-1"]


@pytest.mark.parametrize(("state", "verb"), [("stopped", "stop"), ("started", "start")])
def test_docker_fails(site: Site, run: Run, state: str, verb: str) -> None:
    if verb == "start":
        site.engine.change("sso-worker-1", **CRASHED)
    site.engine.put("fail", verb, "sso-worker-1", "Error response from daemon: network sso_default not found")
    result = run(state)
    assert result["error"] == "ToolError"
    assert "network sso_default not found. Its container sso-worker-1" in result["msg"]
    assert "docker ps --all --filter label=com.docker.compose.project=sso" in result["next_command"]
    if verb == "stop":
        assert site.engine.status("sso-server-1") == "running"


def test_a_stop_that_never_ends_is_given_up(site: Site, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_docker_services, "_MORE_SECONDS", -29)
    site.engine.put("takes", "stop", LDAP, "30")
    started = time.monotonic()
    result = run("stopped")
    assert time.monotonic() - started < 20
    assert "docker stop -t 30" in result["msg"]
    assert "did not finish within 1 seconds" in result["msg"]
    assert site.engine.status("sso-worker-1") == "running"


def test_something_starts_it_again(site: Site, run: Run) -> None:
    site.engine.put("becomes", "stop", "sso-worker-1", json.dumps(RUNNING))
    result = run("stopped")
    assert "worker was stopped but runs again (active)" in result["msg"]
    assert "label=com.docker.compose.service=worker" in result["next_command"]


def test_a_container_that_goes_between_two_looks(site: Site, run: Run) -> None:
    site.engine.add("sso-worker-2", "worker")
    site.engine.put("gone", "sso-worker-2" * 2, "")
    assert run("stopped", units=["worker"])["was_active"] == ["worker"]


def test_an_outpost_that_the_worker_made_anew(site: Site, run: Run) -> None:
    site.outposts = [Unit(LDAP, "outpost", containers=("an older id",))]
    run("stopped", units=[LDAP])
    assert site.engine.log == [stop(LDAP)]


def test_an_outpost_that_the_compose_file_names(site: Site, run: Run) -> None:
    site.engine.add("sso-radius-1", "radius")
    site.outposts = [Unit("sso-radius-1", "outpost", containers=("sso-radius-1" * 2,))]
    run("stopped")
    run("started")
    lines = [line for line in site.engine.log if "radius" in line]
    assert lines == [site.engine.log[0], site.engine.log[-1]] == [stop("sso-radius-1"), "start sso-radius-1"]


def test_a_stranger_with_the_name_of_an_outpost(site: Site, run: Run) -> None:
    site.outposts = [Unit("nginx", "outpost", containers=("an older id",)), Unit("ldap", "outpost")]
    site.engine.add_labelled("nginx", {})
    site.engine.add_labelled("ldap", {"io.goauthentik.outpost-uuid": "a2"})
    assert run("stopped", units=["nginx", "ldap"])["changed"] is False
    assert site.engine.log == []


def test_the_engine_goes_away(site: Site, run: Run) -> None:
    site.engine.put("down", "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?")
    result = run("stopped")
    assert (result["error"], result["next_command"]) == ("ConnectError", "systemctl start docker")


def test_no_services_at_all(site: Site, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = Instance(deployment="compose", compose=site.instance().compose)
    monkeypatch.setattr(_discover, "discover", lambda *_args: empty)
    for check_mode in (False, True):
        result = run("stopped", server_units=[], _ansible_check_mode=check_mode)
        assert "The compose project sso has no service that runs authentik" in result["msg"]
        assert "server_service" in result["hint"]
        assert "systemd" not in result["msg"]


def test_no_address_to_be_asked_at(site: Site, run: Run) -> None:
    containers = site.engine.containers
    containers[0]["NetworkSettings"] = {"Networks": {}}
    site.engine.save(containers)
    result = run("started", timeout=1)
    assert "did not become ready within 1 s: no server has an address" in result["msg"]
    assert "health_url" in result["hint"]
    assert run("started", health_url="http://127.0.0.1:1/", timeout=1)["msg"].count("http://127.0.0.1:1/ did") == 1


def test_services_that_something_else_manages(site: Site, run: Run) -> None:
    site.answers = [503, 200]
    assert run("started", manage=False)["changed"] is False
    assert site.engine.log == ["answered 503", "answered 200"]
    assert LDAP + " still runs (active)" in run("stopped", manage=False)["msg"]
    for name in ("sso-server-1", "sso-worker-1", LDAP):
        site.engine.change(name, Status="exited", ExitCode=0)
    assert run("stopped", manage=False)["was_active"] == []
    result = run("started", manage=False, timeout=1)
    assert "did not become ready within 1 s" in result["msg"]
    assert not [line for line in site.engine.log if line.startswith(("stop", "start"))]


def test_a_run_after_a_killed_one_knows_what_ran(site: Site, run: Run) -> None:
    site.engine.change(LDAP, Status="exited", ExitCode=0)
    assert run("stopped", remember=True)["was_active"] == ["worker", "server"]
    assert run("stopped", remember=True, _ansible_check_mode=True)["was_active"] == ["worker", "server"]
    # Docker does not start at a boot what was stopped, so a boot does not end what is remembered.
    boot = site.root / "proc/sys/kernel/random/boot_id"
    boot.parent.mkdir(parents=True)
    boot.write_text("another\n")
    again = run("stopped", remember=True)
    assert (again["changed"], again["was_active"]) == (False, ["worker", "server"])
    run("started", units=again["was_active"])
    assert site.engine.status(LDAP) == "exited"
    assert list((site.root / "var/lib/authentik-recovery").iterdir()) == []


def test_two_projects_have_notes_of_their_own(site: Site, run: Run) -> None:
    run("stopped", remember=True, units=["server"])
    site.project = "other"
    site.outposts = []
    site.engine.change("other-server-1", Status="exited", ExitCode=0)
    assert run("stopped", remember=True)["was_active"] == []
    site.project, site.docker_host = "sso", "unix:///run/another.sock"
    assert run("stopped", remember=True, docker_host="unix:///run/another.sock")["was_active"] == ["worker"]
    site.docker_host = None
    assert run("stopped", remember=True)["was_active"] == ["server"]
