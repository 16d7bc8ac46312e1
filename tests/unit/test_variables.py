# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of variables: those that were meant to be one of the roles', and those that messages should show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.action import authentik_variables
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._variables import (
    known_names,
    misspelt,
    name_variables,
)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("authentik_instnace", "authentik_instance"),
        ("authentik_sotre", "authentik_store"),
        ("authentik_postgres_host", "authentik_postgresql_host"),
        ("authentik_postgresql_username", "authentik_postgresql_user"),
        ("authentik_component", "authentik_components"),
        ("authentik_backupid", "authentik_backup_id"),
        ("authentik_config_overwrite", "authentik_overwrite_config"),
        ("authentic_store", "authentik_store"),
        ("authentik_host", "authentik_hosts"),
        ("authentik_Version_policy", "authentik_version_policy"),
    ],
)
def test_a_mistake_is_told_with_the_name_that_was_meant(given: str, meant: str) -> None:
    assert misspelt([given, "authentik_store"], known_names()) == {given: meant}


@pytest.mark.parametrize(
    "name",
    [
        "authentik_redis_url",
        "authentik_backup_dir",
        "authentik_postgresql_data_dir",
        "authentik_image_tag",
        "authentik_bootstrap_token",
        "authentik_domain",
        "auth",
        "backup_id",
        "ansible_become_user",
        "inventory_hostname",
    ],
)
def test_what_somebody_else_may_use_is_left_alone(name: str) -> None:
    assert misspelt([name], known_names()) == {}


def test_every_name_of_a_role_is_known() -> None:
    names = known_names()
    assert misspelt(names, names) == {}
    assert {"authentik_hosts", "authentik_store", "authentik_extra_paths", "authentik_list_file"} < names


@pytest.mark.parametrize(
    ("given", "own", "said"),
    [
        (["authentik_instnace"], [], "variable authentik_instnace (is it authentik_instance?)"),
        (["authentik_instnace", "authentik_stor"], [], "authentik_stor (is it authentik_store?)"),
        (["authentik_instnace", "authentik_stor"], ["authentik_instnace"], "variable authentik_stor "),
        (["authentik_instnace"], ["authentik_instnace"], None),
    ],
)
def test_what_is_listed_as_ones_own_is_no_mistake(given: Iterable[str], own: list[str], said: str | None) -> None:
    variables: dict[str, Any] = dict.fromkeys(given, "x")
    if said is None:
        authentik_variables._check_names(variables, own)
        return
    with pytest.raises(InputError) as refused:
        authentik_variables._check_names(variables, own)
    assert said in refused.value.cause
    assert "authentik_own_variables" in refused.value.hint


@pytest.mark.parametrize(
    ("option", "shown"),
    [
        ("Give postgresql_host, or env_files", "Give authentik_postgresql_host, or authentik_env_files"),
        ("admin_user or admin_run_as", "authentik_postgresql_admin_user or authentik_postgresql_admin_run_as"),
        ("created by role postgres (admin_user)", "created by role postgres (authentik_postgresql_admin_user)"),
        ("say so with missing: warn", "say so with authentik_missing_directories: warn"),
        ("the right path with directories", "the right path with authentik_directories"),
        ("another directory with paths: {media: /x}", "another directory with authentik_restore_paths: {media: /x}"),
        ("choose another place with paths", "choose another place with authentik_restore_paths"),
        ("Give timeout more seconds, or", "Give authentik_services_timeout more seconds, or"),
        ("left as it is, since overwrite is false", "left as it is, since authentik_overwrite_config is false"),
        ("set manage to true", "set authentik_manage_services to true"),
        ("with version_policy=ladder.", "with authentik_version_policy=ladder."),
        ("give deployment=host for it", "give authentik_deployment=host for it"),
        ("use a superuser for method dumpall", "use a superuser for authentik_postgresql_method=dumpall"),
        ("Redis database 0 (redis_db)", "Redis database 0 (authentik_redis_db)"),
        ("with authentik_version", "with authentik_version"),
        ("/etc/authentik/secret_key cannot be read", "/etc/authentik/secret_key cannot be read"),
        ("secret_key.txt, AUTHENTIK_REDIS_HOST, x.redis_host", "secret_key.txt, AUTHENTIK_REDIS_HOST, x.redis_host"),
        ("the directories and paths of this instance", "the directories and paths of this instance"),
    ],
)  # fmt: skip
def test_a_message_names_what_its_reader_sets(option: str, shown: str) -> None:
    assert name_variables(option) == shown
