# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which of several instances is meant, and what is said where none can be."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    ConnectError,
    DiscoveryError,
    InputError,
    ToolError,
)
from tests.support.compose_fake import (
    DIRECTORY,
    IMAGE,
    Host,
    host,
    official,
    project,
)

__all__ = ["host"]


def test_two_projects_are_listed_and_the_option_decides(host: Host) -> None:
    host.up(project(official("2025.12.4")))
    host.up(project(official("2026.8.3"), name="staging"), directory="/srv/staging")
    with pytest.raises(DiscoveryError, match=r"authentik \(in /srv/authentik\), staging \(in /srv/staging\)") as caught:
        host.find()
    assert "compose_project_name" in caught.value.hint
    by_name = host.find(compose_project_name="staging")
    by_folder = host.find(compose_project_directory="/srv/staging")
    for found in (by_name, by_folder):
        assert found.installed is not None
        assert found.installed["value"] == "2026.8.3"
        assert found.require_postgresql().container.name == "staging-postgresql-1"  # type: ignore[union-attr]


def test_a_project_that_is_not_there_is_told_with_those_that_are(host: Host) -> None:
    host.up(project(official("2025.12.4")))
    with pytest.raises(DiscoveryError, match=r"compose project sso .*some: authentik"):
        host.find(compose_project_name="sso")


def test_a_name_for_a_project_that_is_down_is_passed_to_compose(host: Host) -> None:
    host.lay_down(project(official("2025.12.4")))
    found = host.find(compose_project_directory=DIRECTORY, compose_project_name="other")
    assert found.compose is not None
    assert found.compose.name == "other"


UNIT = "[Service]\nExecStart=/opt/authentik/authentik-server\n"


def test_services_of_the_host_and_a_project_need_a_decision(host: Host) -> None:
    host.up(project(official("2025.12.4")))
    host.write("/etc/systemd/system/authentik-server.service", UNIT)
    with pytest.raises(DiscoveryError, match=r"authentik-server.service\) and as compose projects \(authentik\)"):
        host.find()
    assert host.find(deployment="compose").deployment == "compose"
    assert host.find(deployment="host").deployment == "host"
    assert host.find(compose_project_name="authentik").deployment == "compose"
    assert host.find(server_units=["authentik-server"]).deployment == "host"


CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"deployment": "host", "compose_project_name": "x"}, "compose_project_name"),
    ({"deployment": "host", "postgresql_service": ""}, "postgresql_service"),
    ({"deployment": "compose", "server_units": ["a"]}, "server_units"),
    ({"postgresql_sslmode": "require"}, "postgresql_sslmode"),
]


@pytest.mark.parametrize(("options", "name"), CONTRADICTIONS)
def test_an_option_that_would_be_ignored_is_refused(host: Host, options: dict[str, Any], name: str) -> None:
    host.up(project(official("2025.12.4")))
    with pytest.raises(InputError, match=name):
        host.find(**options)


def test_programs_in_a_container_run_as_the_user_that_is_given(host: Host) -> None:
    host.up(project(official("2025.12.4")))
    assert host.find(postgresql_run_as="postgres").require_postgresql().run_as == "postgres"


def test_an_external_database_takes_the_options_for_one(host: Host) -> None:
    host.up(project(official("2025.12.4")))
    found = host.find(
        postgresql_service="", postgresql_host="10.0.0.7", postgresql_sslmode="require", postgresql_run_as="ops"
    ).require_postgresql()
    assert (found.host, found.sslmode, found.run_as, found.container) == ("10.0.0.7", "require", "ops", None)


def test_the_engine_is_not_asked_where_it_is_not_needed(host: Host) -> None:
    host.write("/etc/systemd/system/authentik-server.service", UNIT)
    host.fake.answers = False
    found = host.find("2025.12.4")
    assert found.deployment == "host"
    assert not [text for text in found.warnings if "SENTINEL" in text]
    host.engine = None
    assert host.find("2025.12.4").deployment == "host"


def test_an_engine_that_does_not_answer_is_told_where_nothing_else_was_found(host: Host) -> None:
    host.fake.answers = False
    assert any("SENTINEL" in text for text in host.find().warnings)
    with pytest.raises(ConnectError, match="SENTINEL"):
        host.find(deployment="compose")
    host.engine = None
    with pytest.raises(ToolError, match="docker is not installed"):
        host.find(deployment="compose")


def test_a_host_with_docker_but_no_authentik_is_told_what_to_give(host: Host) -> None:
    assert any("compose_project_directory" in text for text in host.find().warnings)
    with pytest.raises(DiscoveryError, match="No container of a compose project runs authentik"):
        host.find(deployment="compose")
    host.run("sso", {"image": IMAGE + ":2025.12.4", "command": ["server"]}, {})
    assert any("Container sso runs authentik, but belongs to no" in text for text in host.find().warnings)


def test_an_engine_of_another_machine_is_refused(host: Host) -> None:
    host.fake.host = "ssh://root@elsewhere"
    with pytest.raises(InputError, match="another machine"):
        host.find(docker_host="ssh://root@elsewhere")
