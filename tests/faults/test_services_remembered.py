# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services that a killed run had stopped run again after the next one: what ran is noted on the host."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _files
from tests.faults.test_services import LDAP, SERVER, WORKER, Host, Run, host, run

__all__ = ["host", "run"]


@pytest.fixture(autouse=True)
def work_dir(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_files, "default_work_dir", lambda: "/var/lib/authentik-recovery")


def note(host: Host) -> Path:
    return host.root / "var/lib/authentik-recovery/stopped-services.json"


def test_a_run_after_a_killed_one_knows_what_ran(host: Host, run: Run) -> None:
    host.put("state", LDAP, "inactive")
    assert run("stopped", remember=True)["was_active"] == [WORKER, SERVER]
    # Here the first playbook is killed; the next one finds nothing running.
    checked = run("stopped", remember=True, _ansible_check_mode=True)
    again = run("stopped", remember=True)
    for result in (checked, again):
        assert (result["changed"], result["was_active"]) == (False, [WORKER, SERVER])
    assert note(host).stat().st_mode & 0o077 == 0
    run("started", units=again["was_active"])
    assert host.state(LDAP) == "inactive"
    assert not note(host).exists()
    assert run("stopped")["was_active"] == [WORKER, SERVER]


def test_what_others_stopped_stays_stopped(host: Host, run: Run) -> None:
    run("stopped")
    assert run("stopped", remember=True)["was_active"] == []
    assert not note(host).exists()


def test_a_service_that_could_not_be_stopped_is_noted_all_the_same(host: Host, run: Run) -> None:
    host.put("fail", "stop", SERVER, "no")
    assert run("stopped", remember=True)["failed"]
    assert host.state(WORKER) == "inactive"
    (host.here / ("fail-stop-" + SERVER)).unlink()
    assert run("stopped", remember=True)["was_active"] == [LDAP, WORKER, SERVER]


def test_a_reboot_ends_it(host: Host, run: Run) -> None:
    run("stopped", remember=True)
    boot = host.root / "proc/sys/kernel/random/boot_id"
    boot.parent.mkdir(parents=True)
    boot.write_text("another\n")
    assert run("stopped", remember=True)["was_active"] == []
    run("started")
    run("stopped", remember=True)
    assert "another" in note(host).read_text()


def test_a_note_that_cannot_be_read_is_none(host: Host, run: Run) -> None:
    run("stopped", remember=True)
    note(host).write_text("{")
    assert run("stopped", remember=True)["was_active"] == []


def test_services_are_not_stopped_without_the_note(host: Host, run: Run) -> None:
    (host.root / "var").write_text("a file")
    assert "Cannot" in run("stopped", remember=True)["msg"]
    assert host.log == []
