# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""authentik_services on a stand-in for systemd: order, waiting, and everything that can go wrong.

The stand-in is a program of its own on PATH; real systemd is for the system tests.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment import _services, _system
from ansible_collections.authentik_ops.recovery.plugins.modules import authentik_services

SYSTEMCTL = """\
#!{python}
import os, sys, time
here = {here!r}
words = [word for word in sys.argv[1:] if not word.startswith("-")]
verb, names = words[0], words[1:]

def get(*name):
    path = os.path.join(here, "-".join(name))
    return open(path).read() if os.path.exists(path) else None

if verb == "show":
    for name in names:
        print("Id=%s\\nNames=%s\\nLoadState=loaded\\nActiveState=%s\\nFragmentPath=%s\\n"
              % (name, name, get("state", name), "/etc/systemd/system/" + name))
elif verb in ("stop", "start", "reset-failed"):
    with open(os.path.join(here, "log"), "a") as log:
        log.write("%s %s\\n" % (verb, names[0]))
    time.sleep(float(get("takes", verb, names[0]) or 0))
    failure = get("fail", verb, names[0])
    if failure is not None:
        sys.exit(failure)
    becomes = get("becomes", verb, names[0]) or {{"stop": "inactive", "start": "active"}}.get(verb)
    if becomes:
        with open(os.path.join(here, "state-" + names[0]), "w") as state:
            state.write(becomes)
"""
JOURNALCTL = "#!{python}\nimport sys\nprint('%s says: out of cheese' % sys.argv[-1])\n"
SERVER, WORKER, LDAP = "authentik-server.service", "authentik-worker.service", "authentik-ldap.service"


class Host:
    """A root folder with units, programs that act as systemd, and a server that answers for authentik."""

    def __init__(self, path: Path) -> None:
        self.root = path / "root"
        self.here = path / "systemd"
        self.bin = path / "bin"
        for folder in (self.root / "etc/systemd/system", self.root / "run/systemd/system", self.here, self.bin):
            folder.mkdir(parents=True)
        for name, text in (("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL)):
            (self.bin / name).write_text(text.format(python=sys.executable, here=str(self.here)))
            (self.bin / name).chmod(0o755)
        for name, command in ((SERVER, "ak server"), (WORKER, "ak worker"), (LDAP, "ak ldap")):
            (self.root / "etc/systemd/system" / name).write_text("[Service]\nExecStart=/opt/authentik/%s\n" % command)
            self.put("state", name, "active")
        self.answers = [200]
        self.url = ""

    def put(self, *words: str) -> None:
        """Set what the stand-in finds: ("state", unit, state), ("fail", verb, unit, message)..."""
        (self.here / "-".join(words[:-1])).write_text(words[-1])

    def state(self, name: str) -> str:
        return (self.here / ("state-" + name)).read_text()

    @property
    def log(self) -> list[str]:
        """What was done, in order; the answers of the readiness URL among it."""
        path = self.here / "log"
        return path.read_text().splitlines() if path.exists() else []

    def answer(self) -> int:
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        with (self.here / "log").open("a") as log:
            log.write("answered %d\n" % status)
        return status


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    made = Host(tmp_path)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = made.answer() if self.path == "/-/health/ready/" else 404
            self.send_response(status)
            self.send_header("Location", "/-/health/ready/?again")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    made.url = "http://127.0.0.1:%d/-/health/ready/" % server.server_port
    monkeypatch.setenv("PATH", "%s:/usr/bin:/bin" % made.bin)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # readiness is asked on this host, never through a proxy
    monkeypatch.setattr(_system, "ROOT", str(made.root))
    monkeypatch.setattr(_services, "_POLL_SECONDS", 0.02)
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(host: Host, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(state: str, **options: Any) -> dict[str, Any]:
        arguments = {"state": state, "health_url": host.url, "config_paths": [], "timeout": 10, **options}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            authentik_services.main()
        return dict(json.loads(capsys.readouterr().out))

    return call


def test_stopping_and_starting_what_ran(host: Host, run: Run) -> None:
    host.put("state", LDAP, "inactive")
    stopped = run("stopped")
    assert stopped["changed"] is True
    assert host.log == ["stop " + WORKER, "stop " + SERVER]
    assert stopped["was_active"] == [WORKER, SERVER]
    assert stopped["services"] == [
        {"name": LDAP, "role": "outpost", "before": "inactive", "after": "inactive"},
        {"name": WORKER, "role": "worker", "before": "active", "after": "inactive"},
        {"name": SERVER, "role": "server", "before": "active", "after": "inactive"},
    ]
    assert stopped["diff"]["before"][SERVER] == "active"
    assert stopped["diff"]["after"][SERVER] == "inactive"
    assert run("stopped")["changed"] is False

    host.answers = [503, 404, 302, 503, 204]
    started = run("started", units=stopped["was_active"])
    # The worker has to wait until the server is ready, and the outpost stays as it was found.
    assert host.log[2:] == [
        "start " + SERVER,
        "answered 503",
        "answered 404",
        "answered 302",
        "answered 503",
        "answered 204",
        "start " + WORKER,
    ]
    assert (started["changed"], host.state(LDAP)) == (True, "inactive")
    assert started["ready_seconds"] > 0
    assert run("started", units=stopped["was_active"])["changed"] is False


def test_all_services(host: Host, run: Run) -> None:
    run("stopped")
    run("started")
    assert [line for line in host.log if "answered" not in line] == [
        *("stop " + name for name in (LDAP, WORKER, SERVER)),
        *("start " + name for name in (SERVER, WORKER, LDAP)),
    ]


def test_a_service_that_restarts_all_the_time_is_stopped_too(host: Host, run: Run) -> None:
    host.put("state", WORKER, "activating")
    assert WORKER in run("stopped")["was_active"]
    assert host.state(WORKER) == "inactive"


@pytest.mark.parametrize("state", ["stopped", "started"])
def test_check_mode_changes_nothing_and_tells_the_truth(host: Host, run: Run, state: str) -> None:
    host.put("state", WORKER, "inactive" if state == "started" else "active")
    result = run(state, _ansible_check_mode=True)
    assert host.log == []
    assert result["changed"] is True
    assert {item["name"]: item["after"] for item in result["services"]} == dict.fromkeys(
        (SERVER, WORKER, LDAP), "inactive" if state == "stopped" else "active"
    )
    host.put("state", WORKER, "active")
    assert run("started", _ansible_check_mode=True)["changed"] is False


def test_a_server_that_runs_has_to_be_ready_before_the_worker_starts(host: Host, run: Run) -> None:
    host.put("state", WORKER, "inactive")
    host.answers = [503, 200]
    run("started", units=[SERVER, WORKER])
    assert host.log == ["answered 503", "answered 200", "start " + WORKER]


def test_a_server_that_does_not_become_ready(host: Host, run: Run) -> None:
    run("stopped")
    host.answers = [503]
    result = run("started", timeout=1)
    assert result["failed"] is True
    assert "did not become ready within 1 s" in result["msg"]
    assert "%s answered 503" % host.url in result["msg"]
    assert "timeout" in result["hint"]
    assert host.state(WORKER) == "inactive"


def test_nothing_listens(host: Host, run: Run) -> None:
    result = run("started", timeout=1, health_url="http://127.0.0.1:1/-/health/ready/")
    assert "did not answer" in result["msg"]
    assert "refused" in result["msg"]


def test_a_server_that_fails_ends_the_waiting(host: Host, run: Run) -> None:
    run("stopped")
    host.put("becomes", "start", SERVER, "failed")
    host.answers = [503]
    result = run("started")
    assert result["msg"].startswith(SERVER + " failed while it was starting.")
    assert "--unit=%s says: out of cheese" % SERVER in result["msg"]
    assert host.state(WORKER) == "inactive"


def test_a_worker_that_dies_at_once(host: Host, run: Run) -> None:
    run("stopped")
    host.put("becomes", "start", WORKER, "failed")
    result = run("started")
    assert WORKER + " was started but does not run (failed)" in result["msg"]
    assert "out of cheese" in result["msg"]


@pytest.mark.parametrize(("state", "verb"), [("stopped", "stop"), ("started", "start")])
def test_systemctl_fails(host: Host, run: Run, state: str, verb: str) -> None:
    host.put("state", WORKER, "active" if verb == "stop" else "inactive")
    host.put("fail", verb, WORKER, "Job for it failed.")
    result = run(state)
    assert result["error"] == "ToolError"
    assert "systemctl %s -- %s failed with exit status 1: Job for it failed" % (verb, WORKER) in result["msg"]
    assert "--unit=%s says: out of cheese" % WORKER in result["msg"]
    assert result["next_command"] == "systemctl status " + WORKER
    if verb == "stop":
        assert host.state(SERVER) == "active"


def test_systemctl_that_never_ends_is_given_up(host: Host, run: Run) -> None:
    host.put("takes", "stop", LDAP, "30")
    started = time.monotonic()
    result = run("stopped", timeout=1)
    assert time.monotonic() - started < 20
    assert result["error"] == "ToolError"
    assert "systemctl stop -- %s" % LDAP in result["msg"]
    assert "1 s" in result["msg"]
    assert host.state(WORKER) == "active"


def test_a_failed_service_is_reset_before_it_is_started(host: Host, run: Run) -> None:
    host.put("state", WORKER, "failed")
    run("started")
    assert [line for line in host.log if WORKER in line] == ["reset-failed " + WORKER, "start " + WORKER]


def test_something_starts_it_again(host: Host, run: Run) -> None:
    host.put("becomes", "stop", WORKER, "active")
    assert WORKER + " was stopped but runs again (active)" in run("stopped")["msg"]


def test_options_choose_the_services(host: Host, run: Run) -> None:
    run("stopped", server_units=[], outpost_units=[])
    assert host.log == ["stop " + WORKER]
    assert "ssh is no service of this authentik instance" in run("stopped", units=["ssh"])["msg"]
    assert run("stopped", units=[])["changed"] is False


@pytest.mark.parametrize("check_mode", [False, True])
def test_without_systemd(host: Host, run: Run, check_mode: bool) -> None:
    (host.root / "run/systemd/system").rmdir()
    result = run("stopped", _ansible_check_mode=check_mode)
    assert "systemd does not run on this host" in result["msg"]
    assert "manage" in result["hint"]
    assert run("stopped", server_units=[], worker_units=[], outpost_units=[])["changed"] is False


@pytest.mark.parametrize("state", ["stopped", "started"])
@pytest.mark.parametrize("check_mode", [False, True])
def test_no_services_at_all(host: Host, run: Run, state: str, check_mode: bool) -> None:
    for unit in (host.root / "etc/systemd/system").iterdir():
        unit.unlink()
    result = run(state, _ansible_check_mode=check_mode)
    assert result["failed"] is True
    assert "No systemd service of authentik was found" in result["msg"]
    assert "server_units" in result["hint"]
    assert "manage" in result["hint"]


def test_services_that_something_else_manages(host: Host, run: Run) -> None:
    host.answers = [503, 200]
    assert run("started", manage=False)["changed"] is False
    assert host.log == ["answered 503", "answered 200"]
    assert LDAP + " still runs (active)" in run("stopped", manage=False)["msg"]
    for name in (SERVER, WORKER, LDAP):
        host.put("state", name, "inactive")
    host.answers = [503]
    assert "authentik still runs: %s answered 503" % host.url in run("stopped", manage=False)["msg"]
    assert run("stopped", manage=False, _ansible_check_mode=True)["changed"] is False
    stopped = run("stopped", manage=False, health_url="http://127.0.0.1:1/")
    assert (stopped.get("failed", False), stopped["changed"]) == (False, False)
    assert not [line for line in host.log if line.startswith(("stop", "start"))]
    assert "did not become ready within 1 s" in run("started", manage=False, timeout=1)["msg"]


def test_a_health_url_that_is_none(host: Host, run: Run) -> None:
    assert "health_url is no URL" in run("started", health_url="nonsense")["msg"]


def test_secrets_are_not_echoed(host: Host, run: Run) -> None:
    result = run("stopped", postgresql_password="authentik", secret_key="SENTINEL")
    # A password that is part of every name must not blot out the result.
    assert result["was_active"] == [LDAP, WORKER, SERVER]
    assert "SENTINEL" not in json.dumps(result)
    assert result["invocation"]["module_args"]["postgresql_password"] == "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
