# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Artifacts between host and store, through real Ansible, over the local connection and over real ssh."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.streaming.rig import BACKUP_SET, DUMP, INFO, Rig, content, part
from tests.integration.streaming.sshd import Relay, host_variables, sshd
from tests.support.announce import leave_out
from tests.support.other_users import let_others_in

SIZE = 5 * 1048576 + 12345


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.close()


def test_a_set_is_made_listed_and_read_back(rig: Rig) -> None:
    parts = [
        part(SIZE, 1, discard_first=True),
        part(0, 2, "redis/dump.rdb", "redis"),
        part(1048576, 3, "static/media.tar", "media"),
    ]
    reads: list[dict[str, object]] = [
        {"path": "redis/dump.rdb"},
        {"path": DUMP, "limit": 2000000},
        {"path": "static/media.tar"},
        {"path": DUMP, "pause": 0.03},
    ]
    run = rig.play(
        [
            *rig.backup_tasks(parts, window=3),
            rig.restore_task(reads, chunk_size="512K", window=2),
            rig.restore_task([], step="swap"),
            {INFO: {**rig.where, "backup_id": "latest", "verify": True}},
            {BACKUP_SET: {**rig.where, "state": "published", "id": "{{ opened.id }}"}},
            {BACKUP_SET: {**rig.where, "state": "discarded", "id": "{{ opened.id }}"}},
        ]
    )
    assert run.ok, run.output
    produced, read, swapped, info = (run.results[index].result for index in (1, 3, 4, 5))
    assert swapped["warnings"] == ["größer ✓"]
    assert list((rig.work / "home" / ".ansible_async").iterdir()) == []
    assert rig.stored() == content(SIZE, 1)
    assert [(one["path"], one["size"]) for one in read["seen"]] == [
        ("redis/dump.rdb", 0),
        (DUMP, 2000000),
        ("static/media.tar", 1048576),
        (DUMP, SIZE),
    ]
    assert read["seen"][3]["sha256"] == hashlib.sha256(content(SIZE, 1)).hexdigest()
    assert (produced["spool"]["chunk_size"], produced["spool"]["window"]) == (1048576, 3)
    assert read["spooled"]["largest"] == 524288
    assert 1 <= read["spooled"]["most"] <= 2
    # Fingerprints are in the manifest, not on the screen; neither is the manifest in the restore's result.
    assert info["manifest"]["components"]["redis"]["fingerprint"]["whole"].startswith("bigbig")
    assert "bigbig" not in json.dumps([produced, read, swapped])
    assert (swapped["manifest_id"], swapped["spool"]) == (info["manifest"]["id"], None)
    assert info["sets"][0]["components"] == ["media", "postgresql", "redis"]
    assert info["sets"][0]["size"] == SIZE + 1048576
    assert [one.result["changed"] for one in run.results[6:]] == [False, False]
    assert rig.leftovers() == []


def test_a_failing_producer_is_the_tasks_failure_and_leaves_nothing(rig: Rig) -> None:
    run = rig.play(rig.backup_tasks([part(SIZE, fail_at=3 * 1048576, how="raise")]))
    assert not run.ok
    assert run.message.startswith("the program failed on purpose. Nothing is wrong")
    assert run.failures[0].result["error"] == "ToolError"
    partial = rig.store / "sso" / (run.results[0].result["id"] + ".partial")
    assert [path for path in partial.rglob("*") if path.is_file()] == [partial / ".owner.json"]
    assert rig.leftovers() == []
    again = rig.play([{BACKUP_SET: {**rig.where, "state": "discarded", "id": run.results[0].result["id"]}}])
    assert again.result["changed"] is True
    assert rig.visible() == []


def test_a_producer_that_is_killed_is_noticed(rig: Rig) -> None:
    run = rig.play(rig.backup_tasks([part(SIZE, fail_at=2 * 1048576, how="kill")]))
    assert [failure.action for failure in run.failures] == ["stream_out"]
    assert rig.leftovers() == []


def test_a_module_that_reports_other_bytes_than_it_sent_is_refused(rig: Rig) -> None:
    run = rig.play(rig.backup_tasks([part(SIZE, lie="0" * 64)]))
    assert "was stored with %d bytes" % SIZE in run.message
    assert [name for name in rig.visible() if not name.endswith(".partial")] == []


def test_wrong_options_are_named(rig: Rig) -> None:
    right = {
        "chunk_size": "1M",
        "spool_dir": str(rig.spools),
        "parts": [part(1)],
        "backup_set": {**rig.where, "id": "{{ opened.id }}"},
    }
    wrong: list[tuple[dict[str, object], str]] = [
        ({"chunk_size": "many"}, "'many' is not a size"),
        ({"chunk_size": 100}, "chunk_size is 100 bytes"),
        ({"window": 0}, "window is '0'"),
        ({"spool_dir": str(rig.work / "absent")}, "spool_dir"),
        ({"backup_set": dict(rig.where)}, "store, instance and id"),
        ({"backup_set": {**rig.where, "id": "../../x"}}, "not the id of a backup set"),
        ({"backup_set": {**rig.where, "id": "20200101T000000Z-0000"}}, "no unfinished backup set"),
        (
            {"backup_set": {"store": str(rig.store), "instance": "a/b", "id": "20200101T000000Z-0000"}},
            "name of an instance",
        ),
        ({"dest": str(rig.work / "dest")}, "Exactly one of dest and backup_set"),
        ({"spool": {"path": "/", "chunk_size": 1, "window": 1}}, "set by the action plugin"),
        ({"colour": "red"}, "colour"),
    ]
    tasks = [{"stream_out": {**right, **options}, "ignore_errors": True} for options, _says in wrong]
    run = rig.play(
        [{BACKUP_SET: {**rig.where, "state": "open", "allow_ephemeral": True}, "register": "opened"}, *tasks]
    )
    said = [str(one.result.get("msg")) for one in run.of("stream_out")]
    assert len(said) == len(wrong)
    for message, (options, says) in zip(said, wrong, strict=True):
        assert says in message, options
    assert rig.leftovers() == []


def test_dest_and_src_work_without_a_store(rig: Rig) -> None:
    run = rig.play(
        [
            *rig.backup_tasks([part(SIZE)]),
            {"stream_out": {"dest": str(rig.work / "dest"), "parts": [part(SIZE, 7)]}},
            {"stream_in": {"src": "{{ opened.path }}", "reads": [{"path": DUMP}]}},
        ]
    )
    assert run.ok, run.output
    assert (rig.work / "dest" / DUMP).read_bytes() == content(SIZE, 7)
    assert run.result["seen"][0]["sha256"] == hashlib.sha256(content(SIZE)).hexdigest()


def test_check_mode_streams_nothing_out_and_reads_everything_back(rig: Rig) -> None:
    run = rig.play(rig.backup_tasks([part(SIZE)]), check=True)
    assert run.ok, run.output
    assert run.results[1].result["streamed"] is False
    assert not rig.store.exists()
    assert rig.play(rig.backup_tasks([part(SIZE)])).ok
    run = rig.play([rig.restore_task([{"path": DUMP}], step="check")], check=True)
    assert run.result["seen"][0]["size"] == SIZE


@pytest.mark.parametrize(("chunk", "says"), [("1M", "postgresql/authentik.dump"), ("16M", "spool_dir")])
def test_a_full_disk_is_named_at_either_end(rig: Rig, chunk: str, says: str) -> None:
    run = rig.play(rig.backup_tasks([part(3 * SIZE)], chunk_size=chunk), env={"TEST_FILE_LIMIT": "4096"})
    assert run.failures[0].result["error"] == "SpaceError", run.output
    assert says in run.message
    assert [name for name in rig.visible() if not name.endswith(".partial")] == []
    assert rig.leftovers() == []


@pytest.mark.parametrize("damage", ["flip", "truncate", "manifest"])
def test_a_damaged_set_is_not_restored(rig: Rig, damage: str) -> None:
    run = rig.play(rig.backup_tasks([part(SIZE)]))
    assert run.ok, run.output
    folder = Path(run.result["path"])
    target = folder / ("manifest.json" if damage == "manifest" else DUMP)
    target.chmod(0o600)
    data = bytearray(target.read_bytes())
    if damage == "flip":
        data[SIZE // 2] ^= 1
    else:
        data = data[:-7]
    target.write_bytes(data)
    run = rig.play([rig.restore_task([{"path": DUMP}], folder.name)])
    assert run.failures[0].result["error"] == "IntegrityError", run.output
    assert {"flip": "SHA-256", "truncate": "were recorded", "manifest": "not valid JSON"}[damage] in run.message
    assert rig.leftovers() == []


def test_the_controllers_memory_does_not_grow_with_the_artifact(rig: Rig) -> None:
    peaks = []
    for size in (8, 320):
        run = rig.play(
            [
                *rig.backup_tasks([part(size * 1048576)], chunk_size="8M"),
                rig.restore_task([{"path": DUMP}], chunk_size="8M"),
            ]
        )
        assert run.ok, run.output
        peaks.append(int(rig.report.read_text()))
    assert peaks[1] - peaks[0] < 24 * 1024, peaks


def test_another_unprivileged_user_cannot_use_the_spool_and_learns_why(rig: Rig) -> None:
    if os.geteuid() != 0 or shutil.which("su") is None:
        leave_out("only root can become another user without a password")
    if not os.path.exists("/usr/bin/python3"):
        leave_out("the other user needs a Python it may run (apt install python3)")
    user = next(entry.pw_name for entry in pwd.getpwall() if entry.pw_name in ("nobody", "daemon"))
    let_others_in(rig.work)
    (rig.work / "remote_tmp").chmod(0o777)
    task = {"become": True, "become_user": user, "become_method": "su", "become_flags": "-s /bin/sh"}
    async_dir = rig.work / "theirs"
    async_dir.mkdir(mode=0o777)
    async_dir.chmod(0o777)
    tasks = rig.backup_tasks(
        [part(SIZE)],
        task={**task, "vars": {"ansible_async_dir": str(async_dir), "ansible_python_interpreter": "/usr/bin/python3"}},
    )
    run = rig.play(tasks, env={"ANSIBLE_REMOTE_TMP": str(rig.work / "remote_tmp")})
    assert not run.ok
    assert "become root" in run.message, run.output
    assert rig.leftovers() == []


@pytest.mark.parametrize("arguments", ["default", "clustered"])
def test_over_ssh_artifacts_travel_uncompressed_whatever_the_arguments_say(tmp_path: Path, arguments: str) -> None:
    """The relay counts: zeros would shrink to nothing where ssh compresses."""
    size = 12 * 1048576
    with sshd(tmp_path) as port:
        relay = Relay(port)
        variables = host_variables(tmp_path, relay.port)
        if arguments == "clustered":
            variables["ansible_ssh_common_args"] += " -4C -o Compression=yes"
        rig = Rig(tmp_path, {"host": variables})
        tasks = rig.backup_tasks([part(size, 0)], chunk_size="2M")
        run = rig.play([*tasks, rig.restore_task([{"path": DUMP}], chunk_size="2M")])
        assert run.ok, run.output
        assert rig.stored() == content(size, 0)
        assert run.result["seen"][0]["sha256"] == hashlib.sha256(content(size, 0)).hexdigest()
        assert size < max(relay.sent) < size * 1.2
        assert size < max(relay.received) < size * 1.2
        assert rig.leftovers() == []
        # The oracle works: Ansible's own connection does compress.
        before = sum(relay.sent)
        blob = tmp_path / "zeros"
        blob.write_bytes(bytes(size))
        run = rig.play([{"ansible.builtin.fetch": {"src": str(blob), "dest": str(tmp_path / "fetched")}}])
        assert run.ok, run.output
        assert sum(relay.sent) - before < size / 10
        relay.close()
        rig.close()


def test_a_restored_set_needs_nothing_of_ours(rig: Rig) -> None:
    run = rig.play(rig.backup_tasks([part(SIZE), part(99, 2, "redis/dump.rdb", "redis")]))
    assert run.ok, run.output
    done = subprocess.run(
        ["sha256sum", "--strict", "--check", "SHA256SUMS"],
        cwd=run.result["path"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert sorted(done.stdout.splitlines()) == [
        "RESTORE.md: OK",
        "manifest.json: OK",
        DUMP + ": OK",
        "redis/dump.rdb: OK",
    ]
