# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A container's state in the words that decide whether a service is stopped or started."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment import _docker_services
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import ComposeProject
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._services import needs_change
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError

DOCKER = ("/usr/bin/docker",)


@pytest.mark.parametrize(
    ("state", "word", "stop", "start"),
    [
        ({"Status": "running", "Running": True}, "active", True, False),
        # A health check that fails is no reason to start it, nor one to leave it running.
        ({"Status": "running", "Running": True, "Health": {"Status": "unhealthy"}}, "active", True, False),
        ({"Status": "restarting", "Running": True, "Restarting": True, "ExitCode": 1}, "activating", True, True),
        ({"Status": "paused", "Running": True, "Paused": True}, "paused", True, True),
        ({"Status": "created", "ExitCode": 0}, "inactive", False, True),
        ({"Status": "removing", "ExitCode": 0}, "inactive", False, True),
        ({"Status": "exited", "ExitCode": 0}, "inactive", False, True),
        ({"Status": "exited", "ExitCode": 143}, "inactive", False, True),
        ({"Status": "exited", "ExitCode": 137}, "inactive", False, True),
        ({"Status": "exited", "ExitCode": 137, "OOMKilled": True}, "failed", False, True),
        ({"Status": "exited", "ExitCode": 1}, "failed", False, True),
        ({"Status": "exited", "ExitCode": 0, "Error": "mount denied"}, "failed", False, True),
        ({"Status": "dead", "Dead": True}, "failed", False, True),
        ({}, "unknown", False, True),
    ],
)
def test_the_state_of_a_container(state: dict[str, Any], word: str, stop: bool, start: bool) -> None:
    assert _docker_services.state_of({"State": state}) == word
    assert (needs_change(word, "stopped"), needs_change(word, "started")) == (stop, start)


@pytest.mark.parametrize(
    ("states", "word"),
    [
        ([], "inactive"),
        (["active", "active"], "active"),
        (["active", "inactive"], "activating"),
        (["failed", "active"], "activating"),
        (["paused", "inactive"], "activating"),
        (["paused"], "paused"),
        (["failed", "inactive"], "failed"),
        (["inactive", "unknown"], "inactive"),
    ],
)
def test_the_state_of_a_scaled_service(states: list[str], word: str) -> None:
    assert _docker_services.state_of_all(states) == word


@pytest.mark.parametrize(
    ("networks", "mode", "running", "url"),
    [
        ({"a": {"IPAddress": "172.18.0.3"}}, "a", True, "http://172.18.0.3:9000/-/health/ready/"),
        ({"a": {"IPAddress": "", "GlobalIPv6Address": "fd00::3"}}, "a", True, "http://[fd00::3]:9000/-/health/ready/"),
        ({"host": {"IPAddress": ""}}, "host", True, "http://127.0.0.1:9000/-/health/ready/"),
        ({"a": {"IPAddress": "172.18.0.3"}}, "a", False, ""),
        ({"host": {"IPAddress": ""}}, "host", False, ""),
        ({}, "none", True, ""),
    ],
)
def test_where_a_server_is_asked(networks: dict[str, Any], mode: str, running: bool, url: str) -> None:
    container = {
        "State": {"Running": running},
        "HostConfig": {"NetworkMode": mode},
        "NetworkSettings": {"Networks": networks},
    }
    assert _docker_services.health_url_of(container, 9000, "/-/health/ready/") == url


def test_projects_have_keys_of_their_own() -> None:
    engine = (*DOCKER, "--host", "unix:///run/user/1000/docker.sock")
    projects = [
        ComposeProject(DOCKER, "sso", "/a"),
        ComposeProject(DOCKER, "sso2", "/a"),
        ComposeProject(engine, "sso", "/a"),
    ]
    keys = [_docker_services.project_key(project) for project in projects]
    assert keys[:2] == ["sso", "sso2"]
    assert len(set(keys)) == 3
    assert "/" not in keys[2]


@pytest.mark.parametrize(
    "project",
    [
        ComposeProject(DOCKER, "sso", "/a", ("/a/c.yml",), missing_files=("/a/gone.yml",)),
        ComposeProject(DOCKER, "sso", "/a", ("/a/c.yml",), missing_env_files=("/a/gone.yml",)),
    ],
)
def test_compose_makes_nothing_of_a_part_of_the_files(project: ComposeProject) -> None:
    with pytest.raises(StateError, match=r"this host: /a/gone\.yml"):
        _docker_services.making_arguments(project)
    whole = replace(project, missing_files=(), missing_env_files=())
    assert _docker_services.making_arguments(whole) == _docker_services.project_arguments(whole)


def test_compose_makes_no_secret_without_content() -> None:
    project = ComposeProject(DOCKER, "sso", "/a", ("/a/c.yml",), shell_variables=("THE_KEY",))
    with pytest.raises(StateError, match="THE_KEY") as refused:
        _docker_services.making_arguments(project)
    assert "env file" in refused.value.hint


def test_compose_is_told_all_of_the_project() -> None:
    project = ComposeProject(
        DOCKER, "sso", "/opt/sso", ("/a.yml", "/b.yml"), ("/opt/sso/stack.env",), ("ldap", "extra")
    )
    assert " ".join(_docker_services.project_arguments(project)) == (
        "--project-name sso --project-directory /opt/sso --file /a.yml --file /b.yml --env-file /opt/sso/stack.env "
        "--profile ldap --profile extra"
    )
