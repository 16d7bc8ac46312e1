# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What lies beside a set: what was proved of it, and that it is pinned."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.action import authentik_backup_set, authentik_backup_set_info
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _notes
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sets import BackupSet
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import Store
from tests.support.store import NOW, publish
from tests.unit.test_store_actions import act

DAMAGED = "static/media.tar.zst has SHA-256 0"


def check(level: str, outcome: str = "passed", sha: str = "a") -> dict[str, Any]:
    return _notes.new_check(level, NOW, sha, "" if outcome == "passed" else outcome, outcome == "unproved")


def record_file(backup_set: BackupSet) -> Path:
    return Path(backup_set.path + ".verified.json")


def test_publishing_records_what_it_proved_and_of_which_manifest(store: Store) -> None:
    backup_set = publish(store)
    (record,) = json.loads(record_file(backup_set).read_text())["checks"]
    manifest = (Path(backup_set.path) / "manifest.json").read_bytes()
    assert record["manifest_sha256"] == hashlib.sha256(manifest).hexdigest()
    assert (record["level"], record["time"], record["ok"]) == ("checksums", "2026-11-22T03:15:00Z", True)
    assert record["collection"]
    assert record_file(backup_set).stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in Path(store.path).iterdir()) == [
        backup_set.set_id, backup_set.set_id + ".verified.json",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "spoilt",
    [
        "", "null", "[]", "{", "{}", '{"checks": 1}', '{"checks": [1, null, "x"]}', '{"checks": [{"level": []}]}',
        '{"checks": [{"level": "someday", "ok": true}]}', '{"checks": [{"level": "checksums", "ok": true}]}',
        '{"checks": [{"level": "checksums", "ok": true, "manifest_sha256": "%s"}]}' % ("0" * 64),
        '{"checks": [{"level": "checksums", "ok": false, "error": "x", "manifest_sha256": "%s"}]}' % ("0" * 64),
        '{"checks": [{"level": "checksums", "ok": true, "time": 5}]}', "\x00\xff",
    ],
)  # fmt: skip
def test_a_record_that_is_about_nothing_here_proves_nothing_and_hides_nothing(store: Store, spoilt: str) -> None:
    backup_set = publish(store)
    record_file(backup_set).write_bytes(spoilt.encode("latin-1"))
    (found,) = store.list_sets()[0]
    assert (found.set_id, found.verified) == (backup_set.set_id, [])
    store.verify(found, NOW)
    assert _notes.proved(store.get(found.set_id).verified)


def test_a_failure_says_which_set_it_hides_from_the_usable_ones(store: Store) -> None:
    backup_set = publish(store)
    record_file(backup_set).write_text('{"checks": [{"level": "decode", "ok": false, "error": "%s"}]}' % DAMAGED)
    sets, problems = store.list_sets()
    assert sets == []
    assert [(one.name, one.reason) for one in problems] == [
        (backup_set.set_id, "Its last verification failed: " + DAMAGED)
    ]


def test_what_could_not_be_verified_stays_a_set_and_is_said(store: Store) -> None:
    backup_set = publish(store)
    store.record(backup_set, _notes.new_check("decode", NOW, backup_set.manifest_sha256, "no pg_restore here", True))
    found = act(authentik_backup_set_info, store=store.root, instance="sso")["sets"][0]
    assert found["verified"] == [{"level": "checksums", "time": "2026-11-22T03:15:00Z"}]
    assert found["unproved"] == [{"level": "decode", "time": "2026-11-22T03:15:00Z", "reason": "no pg_restore here"}]


@pytest.mark.parametrize(
    ("before", "new", "left"),
    [
        (["checksums passed"], "checksums passed", ["checksums passed"]),
        (["checksums passed"], "checksums failed", ["checksums failed"]),
        (["checksums failed"], "checksums passed", ["checksums passed"]),
        # What decodes to its end was read to its end.
        (["checksums failed", "decode failed"], "decode passed", ["decode passed"]),
        (["checksums passed"], "decode passed", ["checksums passed", "decode passed"]),
        # But a checksum proves nothing about what does not decode.
        (["decode failed"], "checksums passed", ["checksums passed", "decode failed"]),
        (["checksums passed", "decode passed"], "decode failed", ["checksums passed", "decode failed"]),
        (["checksums passed", "decode passed"], "decode unproved",
         ["checksums passed", "decode passed", "decode unproved"]),
        (["decode failed"], "decode unproved", ["decode failed", "decode unproved"]),
        (["decode unproved"], "decode unproved", ["decode unproved"]),
        (["decode passed", "decode unproved"], "decode passed", ["decode passed"]),
        (["decode unproved"], "decode failed", ["decode failed"]),
        (["decode unproved"], "checksums passed", ["checksums passed", "decode unproved"]),
        (["checksums failed", "restore failed"], "decode passed", ["decode passed", "restore failed"]),
    ],
)  # fmt: skip
def test_what_a_new_outcome_leaves_of_the_earlier_ones(before: list[str], new: str, left: list[str]) -> None:
    checks: list[dict[str, Any]] = [check(*one.split()) for one in before]
    found = _notes.merged(checks, check(*new.split()))
    assert sorted("%s %s" % (one["level"], _notes.outcome_of(one)) for one in found) == sorted(left)


def test_a_pin_is_set_told_and_removed(store: Store) -> None:
    where: dict[str, Any] = {"store": store.root, "instance": "sso"}
    set_id = publish(store).set_id

    def pinned() -> Any:
        return act(authentik_backup_set_info, **where)["sets"][0]["pinned"]

    assert pinned() is None
    asked = {**where, "state": "pinned", "id": set_id, "reason": "before the upgrade"}
    assert act(authentik_backup_set, check=True, **asked)["changed"]
    assert pinned() is None
    assert [act(authentik_backup_set, **asked)["changed"] for _time in "12"] == [True, False]
    assert pinned() == "before the upgrade"
    asked = {**where, "state": "unpinned", "id": set_id}
    assert [act(authentik_backup_set, **asked)["changed"] for _time in "12"] == [True, False]
    assert pinned() is None
    for wrong_id, reason in ((set_id, " "), ("20200101T000000Z-0000", "x")):
        assert act(authentik_backup_set, **where, state="pinned", id=wrong_id, reason=reason)["failed"]


def test_a_pin_that_cannot_be_read_is_one(store: Store) -> None:
    backup_set = publish(store)
    Path(backup_set.path + ".pinned.json").write_text("{")
    assert "cannot be read" in store.get(backup_set.set_id).pinned
    with pytest.raises(InputError, match="no backup set"):
        store.pin("20200101T000000Z-0000", "x", NOW)
