# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""authentik_info as a task, with a real database and an instance's files in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.authentik_ops.recovery.plugins.doc_fragments import instance as instance_fragment
from ansible_collections.authentik_ops.recovery.plugins.doc_fragments import stream as stream_fragment
from ansible_collections.authentik_ops.recovery.plugins.module_utils import _module, _process
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment import _discover
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import ConnectError, InputError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import _client
from ansible_collections.authentik_ops.recovery.plugins.modules import authentik_info
from tests.support.playbook import Controller
from tests.support.postgres_server import Database

INFO = "authentik_ops.recovery.authentik_info"
HISTORY = """
CREATE TABLE {schema}.authentik_version_history (id bigserial, "timestamp" timestamptz, version text, build text);
INSERT INTO {schema}.authentik_version_history ("timestamp", version, build) VALUES
  ('2026-01-01', '2025.10.3', ''), ('2026-03-01', '2025.12.4', ''), ('2026-02-01', '2025.12.1', '');
"""
# Every place that a secret can come from holds this word.
SENTINEL = "SENTINEL"


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    """Options for an instance without units whose files lie in a folder."""
    etc = tmp_path / "etc"
    (etc / "config.d").mkdir(parents=True)
    (tmp_path / "srv" / "data" / "media").mkdir(parents=True)
    (etc / "config.yml").write_text(
        "postgresql:\n  name: from-yaml\n  password: %s-1\nsecret_key: %s-2\n" % (SENTINEL, SENTINEL)
    )
    (etc / "config.d" / "x.yml").write_text("email:\n  password: %s-3\n" % SENTINEL)
    (etc / "redis").write_text("%s-4" % SENTINEL)
    (etc / "authentik.env").write_text(
        "AUTHENTIK_REDIS__PASSWORD=file://%s/redis\nAUTHENTIK_STORAGE__S3__SECRET_KEY='%s-5'\n"
        "AUTHENTIK_BOOTSTRAP_PASSWORD=%s-6\n%s-7\n%s-8 x=y\n" % (etc, SENTINEL, SENTINEL, SENTINEL, SENTINEL)
    )
    return {
        "config_paths": [str(etc / "config.yml"), str(etc / "config.d" / "*.yml")],
        "env_files": [str(etc / "authentik.env")],
        "working_directory": str(tmp_path / "srv"),
        "server_units": [],
        "worker_units": [],
        "outpost_units": [],
    }


def test_the_version_in_the_database(controller: Controller, database18: Database, options: dict[str, Any]) -> None:
    database18.psql(HISTORY.format(schema="public"))
    run = controller.module(INFO, {**options, **database18.options(), "redis_enabled": True})
    assert run.ok, run.output
    result = run.result
    assert result["changed"] is False
    assert result["version"] == {"value": "2025.12.4", "source": "database, newest row of authentik_version_history"}
    assert result["train"] == "2025.12"
    assert result["postgresql"]["port"] == database18.server.port
    assert result["postgresql"]["password_set"] is True
    assert result["redis"]["password_set"] is True
    assert [(item["component"], Path(item["path"]).name) for item in result["directories"]] == [("data", "data")]
    assert {item["kind"] for item in result["config_files"]} == {"config", "env", "file-value"}
    assert result["secret_key_set"] is True
    assert result["missing"] == []
    assert result["sources"]["postgresql.host"] == "option postgresql_host"


def test_no_secret_in_result_and_output(controller: Controller, options: dict[str, Any]) -> None:
    given = {
        "postgresql_host": "127.0.0.1",
        "postgresql_port": 1,
        "postgresql_password": SENTINEL,
        "secret_key": SENTINEL,
    }
    for more in ({}, given):
        run = controller.module(INFO, {**options, **more}, options=["-vvvvv"], check=True)
        assert run.ok, run.output
        assert SENTINEL not in json.dumps(run.result)
    # What the test itself gives to the task stands in the output, so look at the run without.
    run = controller.module(INFO, options, options=["-vvv"])
    assert SENTINEL not in run.output
    assert run.result["postgresql"]["name"] == "from-yaml"


def test_a_database_that_does_not_answer_leaves_the_version_missing(
    controller: Controller, options: dict[str, Any]
) -> None:
    run = controller.module(INFO, {**options, "postgresql_host": "127.0.0.1", "postgresql_port": 1})
    assert run.ok, run.output
    assert {"what": "authentik's version", "option": "authentik_version"} in run.result["missing"]
    assert any("could not be read from the database" in note for note in run.result["notes"])


def test_an_old_database_keeps_no_history(database18: Database) -> None:
    assert _module.read_history(database18.settings()) == []
    database18.psql("CREATE SCHEMA sso; " + HISTORY.format(schema="sso"))
    assert _module.read_history(database18.settings()) == []
    history = _module.read_history(database18.settings(default_schema="sso"))
    assert history == ["2025.12.4", "2025.12.1", "2025.10.3"]
    with pytest.raises(ConnectError):
        _module.read_history(database18.settings(password="wrong"))


def test_the_version_is_asked_by_the_programs_that_were_named(
    database18: Database, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    database18.psql(HISTORY.format(schema="public"))
    monkeypatch.setattr(_client, "psycopg2", None)
    monkeypatch.setattr(_process, "SYSTEM_DIRS", ())
    monkeypatch.setenv("PATH", "/nonexistent")
    for bin_dir, version in ((str(database18.server.bin), "2025.12.4"), (None, None)):
        arguments = {**options, **database18.options(postgresql_bin_dir=bin_dir)}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            authentik_info.main()
        result = json.loads(capsys.readouterr().out)
        assert (result["version"] or {}).get("value") == version, result["notes"]


def test_warnings_reach_the_operator(controller: Controller, options: dict[str, Any]) -> None:
    run = controller.module(INFO, {**options, "env_files": ["/nowhere.env"]})
    assert "/nowhere.env was given and does not exist" in run.output


def test_an_unreadable_file_fails_with_cause_and_line(controller: Controller, options: dict[str, Any]) -> None:
    path = Path(options["config_paths"][0])
    path.write_text("postgresql:\n  password: %s\n\tname: x\n" % SENTINEL)
    run = controller.module(INFO, options)
    assert not run.ok
    assert "%s, line 3" % path in run.message
    assert SENTINEL not in run.message
    assert run.result["error"] == "InputError"


def documented(fragment: str) -> dict[str, Any]:
    import yaml

    return dict(yaml.safe_load(fragment)["options"])


def spec_of(options: dict[str, Any]) -> dict[str, Any]:
    """Return documentation as an argument spec, as far as both say the same."""
    spec = {}
    for name, option in options.items():
        kept = {key: option[key] for key in ("type", "elements", "default", "choices", "required") if key in option}
        if "suboptions" in option:
            kept["options"] = spec_of(option["suboptions"])
        spec[name] = kept
    return spec


def without_no_log(spec: dict[str, Any]) -> dict[str, Any]:
    return {name: {key: value for key, value in option.items() if key != "no_log"} for name, option in spec.items()}


@pytest.mark.parametrize(
    ("fragment", "spec"),
    [
        (instance_fragment.ModuleDocFragment.DOCUMENTATION, _module.INSTANCE_SPEC),
        (stream_fragment.ModuleDocFragment.PRODUCER, _module.PRODUCER_SPEC),
        (stream_fragment.ModuleDocFragment.CONSUMER, _module.CONSUMER_SPEC),
    ],
)
def test_options_are_what_their_documentation_says(fragment: str, spec: dict[str, Any]) -> None:
    assert spec_of(documented(fragment)) == without_no_log(spec)


def test_the_default_of_config_paths_is_where_authentik_looks() -> None:
    assert tuple(_module.INSTANCE_SPEC["config_paths"]["default"]) == _discover.CONFIG_PATHS


def test_one_of_two_ways_has_to_be_chosen(tmp_path: Path) -> None:
    class Module:
        check_mode = _diff = False
        warn = None

        def __init__(self, **params: Any) -> None:
            self.params = {"spool": None, "dest": None, "src": None, "manifest": None, **params}

    def context(**params: Any) -> _module.Context:
        return _module.Context(Module(**params))

    with pytest.raises(InputError, match="one of dest and backup_set"):
        context().sink()
    with pytest.raises(InputError, match="one of src and backup_set"):
        context().source()
    with context(dest=str(tmp_path)).sink().artifact("a/b") as out:
        out.write(b"x")
    assert (tmp_path / "a" / "b").read_bytes() == b"x"
