# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The manifest: what is believed, and what is refused with its reason."""

from __future__ import annotations

import copy
import datetime
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _manifest
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError, IntegrityError

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "manifest.schema.json").read_text())
ID = "20261122T031500Z-7f3a"


PROJECT = {
    "name": "authentik",
    "directory": "/opt/authentik",
    "files": ["/opt/authentik/compose.yml"],
    "env_files": ["/opt/authentik/.env"],
    "profiles": [],
    "images": [{"service": "server", "reference": "x:1", "id": "sha256:1", "digests": ["x@sha256:2"]}],
}


def manifest() -> dict[str, Any]:
    """A small valid manifest, made by hand."""
    artifact = {
        "path": "postgresql/authentik.dump",
        "component": "postgresql",
        "size": 5,
        "sha256": "a" * 64,
        "plain_size": 5,
        "plain_sha256": "a" * 64,
        "compression": "pg_dump:zstd",
        "encryption": "none",
        "linked_from": None,
        "tool": "pg_dump 18.4",
        "seconds": 1.5,
        "bytes_per_second": 3,
    }
    return {
        "format": 1,
        "id": ID,
        "instance": {
            "name": "sso",
            "deployment": "host",
            "authentik_version": {"value": "2025.12.4", "source": "history"},
            "train": "2025.12",
            "install_id_sha256": None,
            "secret_key_fingerprint": {
                "algorithm": "pbkdf2_hmac_sha256",
                "salt": "00",
                "iterations": 600000,
                "digest": "ff",
            },
        },
        "started": "2026-11-22T03:15:00Z",
        "finished": "2026-11-22T03:16:00Z",
        "seconds": 60.0,
        "created_by": {"collection": "1.0.0", "ansible_core": "2.19.1"},
        "artifacts": [artifact],
        "components": {
            "postgresql": {"component": "postgresql", "artifacts": [{"path": artifact["path"]}]},
            "config": {"component": "config", "artifacts": [], "compose": PROJECT},
        },
    }


def changed(path: str, value: Any) -> dict[str, Any]:
    """The manifest with one field set, or removed when the value is Ellipsis."""
    document = copy.deepcopy(manifest())
    *folders, last = path.split("/")
    place: Any = document
    for part in folders:
        place = place[int(part)] if part.isdigit() else place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return document


def test_a_valid_manifest_satisfies_code_and_schema() -> None:
    assert _manifest.load(_manifest.dump(manifest())) == manifest()
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(manifest(), SCHEMA)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("format", 0),
        ("format", "1"),
        ("format", ...),
        ("id", "../x"),
        ("id", ...),
        ("purpose", 1),
        ("purpose", "safety"),
        ("started", "yesterday"),
        ("seconds", "60"),
        ("instance", None),
        ("instance/name", ...),
        ("instance/train", 2025),
        ("instance/authentik_version", {"value": "1"}),
        ("instance/secret_key_fingerprint", {"salt": "x"}),
        ("instructions", {"path": "RESTORE.md", "size": 1}),
        ("instructions", {"path": "../RESTORE.md", "size": 1, "sha256": "a" * 64}),
        ("instructions", {"path": "RESTORE.md", "size": -1, "sha256": "a" * 64}),
        ("instructions", {"path": "RESTORE.md", "size": 1, "sha256": "A" * 64}),
        ("created_by/collection", ...),
        ("artifacts", {}),
        ("artifacts/0/path", "/etc/passwd"),
        ("artifacts/0/path", "manifest.json"),
        ("artifacts/0/size", -1),
        ("artifacts/0/size", "5"),
        ("artifacts/0/sha256", "a" * 63),
        ("artifacts/0/plain_sha256", "A" * 64),
        ("artifacts/0/compression", "rot13"),
        ("artifacts/0/encryption", "rot13"),
        ("artifacts/0/linked_from", "latest"),
        ("artifacts/0/tool", ...),
        ("components", []),
        ("components/postgresql/artifacts", ...),
        ("components/config/compose", []),
        ("components/config/compose/directory", ...),
        ("components/config/compose/files", [1]),
        ("components/config/compose/images", ["x:1"]),
        ("components/config/compose/images/0/digests", ...),
        ("components/mysql", {"component": "mysql", "artifacts": []}),
    ],
)
def test_what_breaks_the_schema_is_refused_by_code_too(path: str, value: Any) -> None:
    document = changed(path, value)
    with pytest.raises(IntegrityError, match="manifest"):
        _manifest.validate(document)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("artifacts/0/path", "a/../../b", "cannot be the path"),
        ("artifacts/0/component", "redis", "is not listed"),
        ("components/postgresql/artifacts", [{"path": "postgresql/other"}], "names an artifact that is not listed"),
        ("components/postgresql/component", "redis", "not a record of that component"),
        ("artifacts", [manifest()["artifacts"][0]] * 2, "listed twice"),
        ("artifacts/0/size", True, "artifacts\\[0\\].size is bool"),
    ],
)
def test_what_a_schema_cannot_say_is_checked_too(path: str, value: Any, says: str) -> None:
    with pytest.raises(IntegrityError, match=says):
        _manifest.validate(changed(path, value))


def test_a_newer_format_names_the_version_that_reads_it() -> None:
    document = {"format": 2, "created_by": {"collection": "3.1.0"}, "anything": "else"}
    with pytest.raises(IntegrityError) as caught:
        _manifest.validate(document)
    assert "format 2" in str(caught.value)
    assert "3.1.0" in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", b"\xff\xfe", '{"format": 1'])
def test_broken_text_is_an_integrity_error(text: str | bytes) -> None:
    with pytest.raises(IntegrityError, match="manifest is not valid"):
        _manifest.load(text)


def test_build_makes_what_the_schema_wants() -> None:
    start = datetime.datetime(2026, 11, 22, 3, 15, tzinfo=datetime.UTC)
    built = _manifest.build(
        ID,
        {"name": "sso", "deployment": "host"},
        start,
        start + datetime.timedelta(seconds=61.25),
        {"collection": "1.0.0", "ansible_core": "2.19.1"},
        manifest()["artifacts"],
        manifest()["components"],
    )
    jsonschema.validate(built, SCHEMA)
    assert built["seconds"] == 61.25
    assert built["instance"]["authentik_version"] is None


def test_a_safety_set_names_its_restore_and_a_backup_has_no_such_field() -> None:
    document = changed("purpose", "safety")
    document["restore_id"] = ID
    assert _manifest.validate(document) == document
    jsonschema.validate(document, SCHEMA)
    for wrong in ("latest", 7):
        document["restore_id"] = wrong
        with pytest.raises(IntegrityError, match="restore_id"):
            _manifest.validate(document)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(document, SCHEMA)
    # A field may get further values in the same format.
    assert _manifest.validate(changed("purpose", "archive"))


def test_names_that_are_not_utf8_survive() -> None:
    document = changed("components/postgresql/odd", "caf\udce9")
    assert _manifest.load(_manifest.dump(document)) == document


@pytest.mark.parametrize(
    "path", ["a", "", "/a/b", "a//b", "a/../b", "./a/b", "a/.b", ".a/b", "a/b/", "a/b\n", "a\\b/c", "../a/b"]
)
def test_artifact_paths_stay_in_the_set(path: str) -> None:
    with pytest.raises(InputError, match="path of an artifact"):
        _manifest.check_artifact_path(path)
