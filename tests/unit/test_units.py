# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which systemd services belong to authentik, and what they do for it."""

from __future__ import annotations

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment import _services, _system, _units
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import Unit
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._version import (
    find_version,
    train_key,
    train_of,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError

COMMANDS: list[tuple[str, str, str | None]] = [
    ("authentik-server", "/opt/authentik/authentik-server", "server"),
    ("authentik-worker", "/usr/local/bin/celery -A authentik.root.celery worker -Ofair", "worker"),
    ("authentik-worker", "/opt/authentik/.venv/bin/python -m manage worker --pid-file /x", "worker"),
    ("authentik", "/nix/store/abc-authentik-gopkgs-2025.8.4/bin/server", "server"),
    ("authentik-worker", "/nix/store/abc-authentik-django/bin/ak worker", "worker"),
    ("authentik-ldap", "/nix/store/abc-authentik-gopkgs/bin/ldap", "outpost"),
    ("authentik-server", "/nix/store/abc-authentik/bin/ak server", "server"),
    ("sso-web", "/srv/sso/lifecycle/ak server", "server"),
    ("sso-jobs", "/bin/sh -c 'cd /srv/sso && exec ./ak worker'", "worker"),
    ("sso-ldap", "/opt/authentik/ldap", "outpost"),
    ("my-authentik_worker", "/usr/bin/run-it", "worker"),
    ("authentik-worker@1", "/usr/bin/run-it", "worker"),
    ("authentik-outpost-radius", "/usr/bin/run-it", "outpost"),
    ("authentik", "/usr/bin/run-it", "server"),
    ("authentik-server", "/usr/bin/docker run --rm authentik", "container"),
    ("authentik-worker", "/usr/bin/podman start -a authentik-worker", "container"),
    ("authentik-migrate", "/nix/store/abc-authentik/bin/migrate.py", None),
    ("postgresql-authentik", "/usr/lib/postgresql/16/bin/postgres -D /srv", None),
    ("authentik-server", "/usr/sbin/nginx -c /etc/authentik/nginx.conf", None),
    ("redis-authentik", "/usr/bin/redis-server /etc/redis-authentik.conf", None),
    ("authentik-server-backup", "/usr/local/bin/backup", None),
    ("ssh", "/usr/sbin/sshd -D", None),
    ("speak", "/usr/bin/speak server", None),
]


@pytest.mark.parametrize(("unit", "command", "role"), COMMANDS)
def test_role(unit: str, command: str, role: str | None) -> None:
    assert _units.role_of(unit + ".service", command.split()) == role


def test_the_last_command_counts_without_its_prefix() -> None:
    settings = [("Service", "ExecStart", value) for value in ("/bin/false", "", "@-/opt/ak 'ak x' server")]
    assert _units.exec_words(settings) == ["/opt/ak", "ak x", "server"]


def test_drop_in_owners() -> None:
    assert _units.drop_in_owners("my-authentik-worker@1.service") == [
        "my-authentik-worker@1.service",
        "my-authentik-worker@.service",
        "my-authentik-.service",
        "my-.service",
        "service",
    ]


def test_parse_list() -> None:
    text = "a.service loaded active running A b.service\n\n● ak@1.service loaded failed failed W\n"
    assert _system.parse_list(text) == ["a.service", "ak@1.service"]


def test_parse_show() -> None:
    text = "Id=a.service\nNames=a.service b.service\nActiveState=active\n\nId=c.service\nDropInPaths=/x=y\n"
    assert _system.parse_show(text) == [
        {"Id": "a.service", "Names": "a.service b.service", "ActiveState": "active"},
        {"Id": "c.service", "DropInPaths": "/x=y"},
    ]


UNITS = [
    Unit("w.service", "worker"),
    Unit("s.service", "server"),
    Unit("l.service", "outpost"),
    Unit("v.service", "worker"),
]


@pytest.mark.parametrize(
    ("wanted", "state", "expected"),
    [
        (None, "stopped", "l v w s"),
        (None, "started", "s v w l"),
        (["w", "s.service"], "stopped", "w s"),
        ([], "stopped", ""),
    ],
)
def test_order(wanted: list[str] | None, state: str, expected: str) -> None:
    chosen = _services.choose_units(UNITS, wanted, state)
    assert [unit.name for unit in chosen] == [name + ".service" for name in expected.split()]


def test_a_foreign_service_is_refused() -> None:
    with pytest.raises(InputError, match=r"^sshd is no service of this authentik instance"):
        _services.choose_units(UNITS, ["w", "sshd"], "stopped")


@pytest.mark.parametrize(
    ("active_state", "stop", "start"),
    [
        ("active", True, False),
        ("reloading", True, False),
        ("activating", True, True),
        ("deactivating", True, True),
        ("inactive", False, True),
        ("failed", False, True),
    ],
)
def test_needs_change(active_state: str, stop: bool, start: bool) -> None:
    assert _services.needs_change(active_state, "stopped") is stop
    assert _services.needs_change(active_state, "started") is start


@pytest.mark.parametrize(
    ("text", "version", "train"),
    [
        ("version/2026.8.0\n", "2026.8.0", "2026.8"),
        ("v2025.2.1", "2025.2.1", "2025.2"),
        ('"2024.12.3"', "2024.12.3", "2024.12"),
        ("2026.5.0-rc2", "2026.5.0-rc2", "2026.5"),
        ("\n\n2025.10", "2025.10", "2025.10"),
        ("no version here", None, None),
        ("12025.1.1", None, None),
    ],
)
def test_versions(text: str, version: str | None, train: str | None) -> None:
    found = find_version(text)
    assert found == version
    assert (train_of(found) if found else None) == train


def test_trains_compare_as_numbers() -> None:
    keys = [train_key(text) for text in ("2025.8.4", "2025.12.0", "2026.2")]
    assert keys == [(2025, 8), (2025, 12), (2026, 2)]
    assert train_key("nonsense") is train_key(None) is None


@pytest.mark.parametrize(("version", "expected"), [(252, {"B"}), (257, {"A", "B"}), (None, {"A", "B"})])
def test_env_files_are_read_as_the_hosts_systemd_reads_them(version: int | None, expected: set[str]) -> None:
    class Host(_system.System):
        def read(self, path: str) -> str:
            return "# x \\\nA=1\nB=2\n"

        def systemd_version(self) -> int | None:
            return version

    variables, _remarks = _units.read_env_file(Host("/"), "/etc/default/authentik")
    assert set(variables or {}) == expected
