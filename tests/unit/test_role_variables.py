# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables of the roles: each is used, each is documented, and they say the same as the modules' options."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from ansible_collections.authentik_ops.recovery.plugins.action.authentik_variables import _SPEC
from ansible_collections.authentik_ops.recovery.plugins.doc_fragments import (
    postgresql_admin,
    restore_claim,
    restore_mode,
    store,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._module import CONSUMER_SPEC, INSTANCE_SPEC

ROOT = Path(__file__).resolve().parents[2]
CHECK = "authentik_ops.recovery.authentik_variables"
ROLES = ("authentik", "backup", "cleanup", "copy", "list", "prune", "restore", "rollback", "verify")


def documented(role: str) -> dict[str, Any]:
    """Return the variables in a role's argument specs."""
    text = (ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text()
    options: dict[str, Any] = yaml.safe_load(text)["argument_specs"]["main"]["options"]
    return options


def texts(*roles: str) -> str:
    """Return all that the roles do, without their documentation."""
    files = [
        path for role in roles for path in (ROOT / "roles" / role).rglob("*.*") if path.name != "argument_specs.yml"
    ]
    return "\n".join(path.read_text() for path in sorted(files) if path.is_file())


@pytest.mark.parametrize("role", ROLES)
def test_every_documented_variable_is_used(role: str) -> None:
    used = texts(role, "authentik")
    assert [name for name in documented(role) if not re.search(r"\b%s\b" % name, used)] == []


def test_every_used_variable_is_documented() -> None:
    known = {name for role in ROLES for name in documented(role)}
    playbooks = "\n".join(path.read_text() for path in (ROOT / "playbooks").glob("*.yml"))
    names = set(re.findall(r"(?<![._\w])authentik_\w+\b(?!\.\w)", texts(*ROLES) + playbooks))
    modules = {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")}
    assert names - known - modules - {"authentik_ops", "authentik_hosts"} == set()


def test_every_option_of_an_instance_has_its_variable() -> None:
    passed = yaml.safe_load((ROOT / "roles/authentik/vars/main.yml").read_text())["__authentik_instance_options"]
    assert set(passed) == set(INSTANCE_SPEC)
    for option, template in passed.items():
        name = option if option.startswith("authentik_") else "authentik_" + option
        assert template.startswith("{{ %s | default(" % name)


def test_variables_of_an_instance_have_the_type_of_the_option() -> None:
    specs = documented("authentik")
    for option, spec in {
        **INSTANCE_SPEC,
        **{k: CONSUMER_SPEC[k] for k in ("chunk_size", "window", "spool_dir")},
    }.items():
        variable = specs[option if option.startswith("authentik_") else "authentik_" + option]
        for key in ("type", "elements", "choices"):
            assert variable.get(key) == spec.get(key), option
        assert set(variable.get("options", {})) == set(spec.get("options", {}))
        assert variable.get("default", []) == (spec.get("default") or []), option


def test_defaults_are_what_is_documented() -> None:
    defaults = yaml.safe_load((ROOT / "roles/authentik/defaults/main.yml").read_text())
    for role in ("backup", "restore"):
        for name, spec in documented(role).items():
            if name in defaults and "default" in spec:
                assert defaults[name] == spec["default"], name


# The variables that become an option as they are: role -> variable -> a value that is no default, and the options.
BECOMES: dict[str, dict[str, tuple[Any, list[str]]]] = {
    "backup": {
        "authentik_postgresql_method": ("dumpall", ["pg_dump.method"]),
        "authentik_postgresql_exclude_databases": (["scratch"], ["pg_dump.exclude_databases"]),
        "authentik_postgresql_exclude_data": (["cache"], ["pg_dump.exclude_data"]),
        "authentik_postgresql_exclude_table_data": (["public.x"], ["pg_dump.exclude_table_data"]),
        "authentik_extra_paths": ({"branding": "/srv/branding"}, ["static_dirs.extra_paths"]),
        "authentik_extra_files": (["/etc/nginx.conf"], ["config.extra_files"]),
        "authentik_missing_directories": ("warn", ["static_dirs.missing"]),
        "authentik_redis_method": ("replication", ["redis_snapshot.method"]),
    },
    "restore": {
        "authentik_backup_id": ("20261101T000000Z-0000", ["backup_set_info.backup_id"]),
        "authentik_overwrite_config": (True, ["config_restore.overwrite"]),
        "authentik_services_timeout": (77, ["services.timeout"]),
        "authentik_postgresql_databases": (["authentik", "wiki"], ["pg_restore.databases"]),
        "authentik_postgresql_admin_user": ("boss", ["pg_restore.admin_user"]),
        "authentik_postgresql_admin_password": ("word", ["pg_restore.admin_password"]),
        "authentik_postgresql_admin_run_as": ("pgadmin", ["pg_restore.admin_run_as"]),
        "authentik_postgresql_skip_privileges": (True, ["pg_restore.skip_privileges"]),
        "authentik_postgresql_migration_timeout": (7, ["pg_restore.migration_timeout"]),
        "authentik_postgresql_restore_as": ("look", ["pg_restore.restore_as"]),
        "authentik_version_policy": ("ladder", ["pg_restore.version_policy"]),
        "authentik_redis_databases": ([3], ["redis_restore.redis_databases", "safety_info.redis_databases"]),
        "authentik_work_dir": ("/srv/work", ["redis_restore.work_dir", "config_restore.work_dir"]),
        "authentik_restore_paths": ({"media": "/m"}, ["static_restore.paths"]),
        "authentik_restore_mode": ("in_place", ["pg_restore.mode", "static_restore.mode"]),
    },
}
SET_ID = "20261122T031500Z-7f3a"
STREAM = {"chunk_size": "3M", "window": 9, "spool_dir": "/srv/spool"}
IN_OTHERS: dict[str, dict[str, tuple[Any, list[str]]]] = {
    "cleanup": {
        "authentik_cleanup_days": (3, ["kept_copies.days"]),
        "authentik_work_dir": ("/srv/work", ["kept_copies.work_dir"]),
        "authentik_postgresql_admin_user": ("boss", ["kept_copies.admin_user"]),
        "authentik_postgresql_admin_password": ("word", ["kept_copies.admin_password"]),
        "authentik_postgresql_admin_run_as": ("pgadmin", ["kept_copies.admin_run_as"]),
    },
    "prune": {
        **{"authentik_keep_" + rule: (3, ["prune.keep_" + rule])
           for rule in ("last", "hourly", "daily", "weekly", "monthly", "yearly")},
        "authentik_keep_within": ("30d", ["prune.keep_within"]),
        "authentik_minimum_verified": (5, ["prune.minimum_verified"]),
        "authentik_may_keep_none": (True, ["prune.may_keep_none"]),
        "authentik_safety_days": (7, ["prune.safety_days"]),
        "authentik_shrink_limit": (0.9, ["prune.shrink_limit"]),
        "authentik_shrink_accepted": (SET_ID, ["prune.shrink_accepted"]),
    },
    "verify": {
        "authentik_verify_level": ("decode", ["backup_set_info.select_level", "backup_set_verify.level"]),
        "authentik_verify_days": (7, ["backup_set_info.select_days"]),
    },
}  # fmt: skip
# What the roles learn while they run.
LEARNT: dict[str, dict[str, Any]] = {
    "backup": {
        "backup_info": {
            "directories": [{"component": "media"}, {"component": "certs"}], "redis": {"host": "x"},
            "deployment": "host", "version": None, "train": None,
        },
        "backup_restores": {"exchanges": {}},
        "backup_set": {"id": SET_ID},
    },
    "verify": {"verify_chosen": {"selected": [SET_ID]}, "item": SET_ID},
    "restore": {
        "restore_set": {
            "sets": [{"id": SET_ID, "components": ["certs", "config", "media", "postgresql", "redis"],
                      "recipients": ["age1set"]}],
            "manifest": {"instance": {"authentik_version": None}},
        },
        "restore_info": {"postgresql": {}, "secret_key_set": True, "version": None,
                         "units": [{"name": "authentik-server.service", "active": True}]},
        "restore_compose": {"started": ["db"]},
        "restore_safety": {
            "components": ["certs"], "plan": ["safety set: certs"], "postgresql": {"method": "dump"},
            "static": {"components": ["certs"], "directories": {"certs": "/c"}, "extra_paths": {}},
        },
        "restore_records": {"exchanges": {}, "gone": {}, "interrupted": [], "living": [], "mixed": []},
        "restore_safety_store": {"free_bytes": 2000000},
        "item": "20261124T120000Z-0a1b",
        "restore_id": "20261124T120000Z-0a1b",
        "restore_step": "check",
    },
}  # fmt: skip


def trusted(value: Any) -> Any:
    """Return what a role's file holds as templates that Ansible is willing to evaluate."""
    if isinstance(value, dict):
        return {key: trusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [trusted(item) for item in value]
    return trust_as_template(value) if isinstance(value, str) else value


def engine(role: str, **variables: Any) -> Templar:
    """Return Ansible's own template engine with what a role knows, and the variables that a user gives."""
    known: dict[str, Any] = {"inventory_hostname": "sso", "ansible_check_mode": False, **LEARNT.get(role, {})}
    known["authentik_store"] = "/srv/store"
    for path in ("authentik/defaults", "authentik/vars", "%s/vars" % role):
        known.update(trusted(yaml.safe_load((ROOT / "roles" / path / "main.yml").read_text())))
    for task in tasks_of(role, "choose.yml"):
        # What a role begins with.
        for fact, value in task.get("ansible.builtin.set_fact", {}).items():
            known.setdefault(fact, trusted(value))
    known.update(variables)
    (check,) = (task for task in tasks_of("authentik") if task.get("register") == "__authentik_given")
    given = Templar(loader=DataLoader(), variables=known).template(trusted(check[CHECK]))
    return Templar(loader=DataLoader(), variables={"__authentik_given": converted(given), **known})


def converted(given: dict[str, Any]) -> dict[str, Any]:
    """Return what the role's check of the variables returns for its options."""
    checked = ArgumentSpecValidator(_SPEC).validate(given)
    assert not checked.error_messages
    return dict(checked.validated_parameters)


# How a safety set comes back: with options of its own, whatever those of the restore are.
WAY_BACK = ("safety_step.yml", "safety_verify.yml", "undo_in_place.yml", "undo_saved.yml")


def tasks_of(role: str, files: str = "*.yml", but: Collection[str] = ()) -> list[dict[str, Any]]:
    """Return the tasks and blocks in a role's files."""
    paths = sorted((ROOT / "roles" / role / "tasks").glob(files))
    return walk([task for path in paths if path.name not in but for task in yaml.safe_load(path.read_text())])


def walk(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return tasks and blocks, those within blocks too."""
    return [found for task in tasks for found in (task, *walk(task.get("block", []) + task.get("rescue", [])))]


def calls(role: str, **variables: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return the collection's modules that a role calls, without prefix, and the options that each gets.

    In the order of the files and within them. Tasks whose own condition does not hold are left out; the conditions
    under which a file of tasks is included do not count.
    """
    return calls_of(role, tasks_of(role, but=WAY_BACK), variables)


def calls_of(role: str, tasks: list[dict[str, Any]], variables: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The same for some of a role's tasks."""
    templar = engine(role, **variables)
    groups = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]
    defaults: dict[str, Any] = {}
    for task in tasks:
        defaults.update(task.get("module_defaults", {}))
    found = []
    for task in tasks:
        for name in [key for key in task if key.startswith("authentik_ops.recovery.")]:
            module = name.rsplit(".", 1)[1]
            conditions = trusted([task.get("when", True)])
            if not all(templar.evaluate_conditional(condition) for condition in conditions):
                continue
            of_groups = ["group/authentik_ops.recovery.%s" % group for group in groups if module in groups[group]]
            options: dict[str, Any] = {}
            for key in [*of_groups, name]:
                options.update(templar.template(trusted(defaults.get(key, {}))))
            options.update(templar.template(trusted(task[name] or {})))
            found.append((module[len("authentik_") :], options))
    return found


def test_a_proof_on_the_host_is_told_who_may_create_databases() -> None:
    given = {"authentik_postgresql_admin_" + name: name for name in ("user", "password", "run_as")}
    made = calls("verify", authentik_verify_level="restore", **given)
    ((_name, options),) = [one for one in made if one[0] == "backup_set_verify"]
    assert {name: options["admin_" + name] for name in ("user", "password", "run_as")} == {
        name: name for name in ("user", "password", "run_as")
    }
    assert (options["level"], options["tools"]) == ("restore", "instance")


@pytest.mark.parametrize(
    ("role", "module"), [("backup", "s3_objects"), ("restore", "s3_restore"), ("cleanup", "kept_copies")]
)
def test_the_bucket_of_the_files_is_reached_as_it_is_told(role: str, module: str) -> None:
    given: dict[str, Any] = {"authentik_storage_s3": {"bucket": "mine", "profile": "ops"}}
    if role != "cleanup":
        given["authentik_components"] = ["s3"]
    if role == "restore":
        known: Any = LEARNT["restore"]["restore_set"]
        given["restore_set"] = {**known, "sets": [{**known["sets"][0], "components": ["s3"]}]}
        given["restore_info"] = {**LEARNT["restore"]["restore_info"], "object_storage": {"bucket": "authentik"}}
    made = [options for name, options in calls(role, **given) if name == module]
    assert made
    assert all(options["storage_s3"] == given["authentik_storage_s3"] for options in made)


def documentation(module: str) -> dict[str, Any]:
    text = (ROOT / "plugins" / "modules" / ("authentik_%s.py" % module)).read_text()
    (found,) = re.findall(r'^DOCUMENTATION = r"""\n(.*?)^"""', text, re.M | re.S)
    documented = dict(yaml.safe_load(found))
    for fragment in (postgresql_admin, restore_claim, restore_mode, store):
        name = "authentik_ops.recovery." + fragment.__name__.rsplit(".", 1)[1]
        if name in documented.get("extends_documentation_fragment", []):
            shared = yaml.safe_load(fragment.ModuleDocFragment.DOCUMENTATION)["options"]
            documented["options"] = {**shared, **documented["options"]}
    return documented


@pytest.mark.parametrize("role", [*BECOMES, *IN_OTHERS])
def test_a_variable_becomes_the_option_that_it_stands_for(role: str) -> None:
    becomes = {**BECOMES, **IN_OTHERS}[role]
    made = calls(role, **{name: value for name, (value, _options) in becomes.items()})
    for variable, (value, options) in becomes.items():
        for module, option in (text.split(".") for text in options):
            given = [arguments.get(option) for called, arguments in made if called == module]
            assert given, module
            assert given == [value] * len(given), variable
            spec, variable_spec = documentation(module)["options"][option], documented(role)[variable]
            for key in ("type", "elements", "choices"):
                assert variable_spec.get(key) == spec.get(key), variable
            assert variable_spec.get("default") in (None, "latest", spec.get("default")), variable


@pytest.mark.parametrize("role", [*BECOMES, *IN_OTHERS])
def test_what_is_not_given_is_left_to_the_module(role: str) -> None:
    made = calls(role)
    becomes = {**BECOMES, **IN_OTHERS}[role]
    for module, option in (text.split(".") for _value, options in becomes.values() for text in options):
        default = documentation(module)["options"][option].get("default")
        given = [arguments[option] for called, arguments in made if called == module and option in arguments]
        assert given in ([], [default] * len(given)) or option == "backup_id"


@pytest.mark.parametrize("role", BECOMES)
def test_every_module_gets_the_options_of_the_instance_the_stream_and_the_store(role: str) -> None:
    instance = {option: "my " + option for option in INSTANCE_SPEC}
    names = {name if name.startswith("authentik_") else "authentik_" + name: name for name in {**instance, **STREAM}}
    variables = {variable: {**instance, **STREAM}[name] for variable, name in names.items()}
    store = {"store": "/elsewhere", "instance": "other"}
    made = calls(role, authentik_store=store["store"], authentik_instance=store["instance"], **variables)
    for module, options in made:
        fragments = str(documentation(module).get("extends_documentation_fragment"))
        expected: dict[str, Any] = instance if "recovery.instance" in fragments else {}
        if "recovery.stream" in fragments:
            expected = {**expected, **STREAM, "backup_set": {**store, "id": SET_ID}}
        if module.startswith("backup_set"):
            expected = store
        assert {name: options.get(name) for name in expected} == expected, module
    assert len(made) > 6


@pytest.mark.parametrize(
    ("role", "given", "expected"),
    [
        ("backup", [], {"pg_dump": None, "static_dirs": ["media", "certs"], "redis_snapshot": None, "config": None}),
        ("backup", ["certs"], {"static_dirs": ["certs"]}),
        ("backup", ["redis", "config"], {"redis_snapshot": None, "config": None}),
        ("backup", ["postgresql"], {"pg_dump": None}),
        ("backup", "certs,redis", {"static_dirs": ["certs"], "redis_snapshot": None}),
        ("restore", [], {"pg_restore": None, "static_restore": ["certs", "media"], "redis_restore": None,
                         "safety_info": ["certs", "media", "postgresql", "redis"]}),
        ("restore", ["certs"], {"static_restore": ["certs"], "safety_info": ["certs"]}),
        ("restore", ["redis"], {"redis_restore": None, "safety_info": ["redis"]}),
        ("restore", ["postgresql"], {"pg_restore": None, "safety_info": ["postgresql"]}),
    ],
)  # fmt: skip
def test_components_choose_the_modules(role: str, given: list[str] | str, expected: dict[str, Any]) -> None:
    always = {"info", "services", "backup_set", "backup_set_info", "config_restore", "compose_restore", "compose_up"}
    always |= {"restore_record", "restore_record_info"}
    made = calls(role, authentik_components=given)
    assert {module: options.get("components") for module, options in made if module not in always} == expected


def test_the_sets_version_does_not_stand_in_for_the_installed_one_where_both_are_compared() -> None:
    known: dict[str, Any] = dict(LEARNT["restore"])
    known["restore_set"] = {
        **known["restore_set"],
        "manifest": {"instance": {"authentik_version": {"value": "2025.8.4", "source": "history"}}},
    }
    given = {
        module: options["authentik_version"]
        for module, options in calls("restore", **known)
        if module not in ("backup_set", "backup_set_info", "restore_record", "restore_record_info")
    }
    assert given["static_restore"] == given["redis_restore"] == "2025.8.4"
    assert given["pg_restore"] == ""
    told = dict(calls("restore", authentik_version="2026.2.1", **known))
    assert told["pg_restore"]["authentik_version"] == "2026.2.1"


def test_a_safety_set_goes_back_to_where_it_was_whatever_the_restore_was_told() -> None:
    safety = "20261124T120003Z-22bb"
    component = {"database": "authentik", "other_databases": {"wiki": {}, "others": {}}}
    components = {"postgresql": component, "media": {"path": "/srv/m"}, "certs": {"path": "/c"}, "config": {}}
    artifacts = [{"component": name} for name in ("postgresql", "media", "config")]
    manifest = {"components": components, "artifacts": artifacts, "restore_id": "20261124T120000Z-0a1b"}
    known: dict[str, Any] = {
        "restore_back_set": {"sets": [{"id": safety}], "manifest": manifest},
        "restore_record": {"record": {"databases": ["authentik", "wiki"]}},
        "restore_only": ["postgresql", "media", "config"],
        "authentik_restore_paths": {"media": "/elsewhere"},
        "authentik_version_policy": "same_train",
        "authentik_after_restore": {"purge_sessions": True},
        "authentik_overwrite_config": False,
        "authentik_instance": "sso",
    }
    made = dict(calls_of("restore", tasks_of("restore", "safety_step.yml"), known))
    assert set(made) == {"pg_restore", "static_restore", "config_restore"}
    for options in made.values():
        assert options["backup_set"] == {"store": "/srv/store", "instance": "sso", "id": safety}
    assert (made["static_restore"]["components"], made["static_restore"]["paths"]) == (["media"], {"media": "/srv/m"})
    assert made["config_restore"]["overwrite"] is True
    database = made["pg_restore"]
    assert (database["databases"], database["version_policy"], database["mode"]) == (
        ["authentik", "wiki"],
        "force",
        "in_place",
    )
    assert "after_restore" not in database


@pytest.mark.parametrize(
    ("manage", "expected"), [(True, {("stopped", True), ("started", None)}), (False, {("stopped", False)})]
)
def test_services_are_left_alone_when_told_to(manage: bool, expected: set[tuple[str, bool | None]]) -> None:
    made = calls("restore", authentik_manage_services=manage)
    assert {(options["state"], options.get("manage")) for module, options in made if module == "services"} == expected


@pytest.mark.parametrize(
    ("of", "into", "given", "expected"),
    [
        ("compose", "host", [], False),
        ("host", "compose", [], False),
        ("compose", "host", ["config", "postgresql"], True),
        ("compose", "compose", [], True),
        ("host", "host", [], True),
    ],
)
def test_configuration_does_not_move_between_deployments_unasked(
    of: str, into: str, given: list[str], expected: bool
) -> None:
    known: dict[str, Any] = dict(LEARNT["restore"])
    known["restore_set"] = {
        **known["restore_set"],
        "manifest": {"instance": {"authentik_version": None, "deployment": of}},
    }
    known["restore_info"] = {**known["restore_info"], "deployment": into}
    templar = engine("restore", authentik_components=given, ansible_check_mode=True, **known)
    assert ("config" in templar.template(trust_as_template("{{ __restore_components }}"))) == expected
    plan = templar.template(trust_as_template("{{ __restore_plan }}"))
    assert any("config: left out" in line for line in plan) == (not expected)
    assert any("secret key has to be carried over by hand" in line for line in plan) == (not expected)


def test_list_shows_one_instance_when_told_to() -> None:
    for given, expected in (({}, ["a", "b"]), ({"authentik_instance": "b"}, ["b"])):
        templar = engine("list", list_store={"instances": ["a", "b"]}, **given)
        if not given:
            # This role does not depend on the one that gives the variable a default.
            templar.available_variables.pop("authentik_instance")
        assert templar.template(trust_as_template("{{ __list_instances }}")) == expected


def test_a_copy_that_says_nothing_is_no_success() -> None:
    done = {"item": "a", "copied": ["x"], "msg": "1 set copied"}
    results = [
        done,
        {"item": "b", "msg": "it crashed"},
        {"item": "c", "copied": [], "msg": "no", "error": "InputError"},
    ]
    templar = engine("copy", copy_done={"results": results})
    failed = templar.template(trust_as_template("{{ __copy_failed }}"))
    assert [one["item"] for one in failed] == ["b", "c"]


def test_playbooks_run_where_they_are_told_to() -> None:
    for name in ("backup", "cleanup", "restore", "rollback"):
        plays = yaml.safe_load((ROOT / "playbooks" / (name + ".yml")).read_text())
        assert plays[1]["hosts"] == "{{ authentik_hosts | default('authentik') }}"
        assert plays[1]["roles"] == [{"role": "authentik_ops.recovery." + name}]
