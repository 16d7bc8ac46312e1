# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Encrypted sets in a store: who can read them, what of them is noticed when it changes, and that nothing is plain."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ansible_collections.authentik_ops.recovery.plugins.action import authentik_backup_set, authentik_backup_set_info
from ansible_collections.authentik_ops.recovery.plugins.module_utils import _manifest
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    IntegrityError,
    RecoveryError,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._encrypted import DecryptingSource
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._identity import ENVIRONMENT, IdentitySource
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._opened import plain_source
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._partial import PartialSet
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sets import BackupSet
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import Store, open_store
from tests.support.age import Key, age_key, decrypt, ssh_key
from tests.support.store import NOW, manifest_of
from tests.unit.test_store_actions import act

SECRET = b"COPY public.authentik_core_token (key) FROM stdin;\nthe-token-of-akadmin\n"
BLOBS = {"postgresql/authentik.dump": SECRET * 3000, "static/media.tar.zst": b"m" * 70000}
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "manifest.schema.json").read_text())
AGE = b"age-encryption.org/v1\n"


@pytest.fixture(autouse=True)
def _no_identity_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"), "sso")


def opened(store: Store, *keys: Key) -> PartialSet:
    """Open a set as the role does, encrypted to the keys."""
    options: dict[str, Any] = {"store": store.root, "instance": "sso", "state": "open"}
    result = act(authentik_backup_set, **options, encryption_recipients=[key.public for key in keys])
    assert not result.get("failed"), result
    return store.partial(result["id"])


def publish(store: Store, *keys: Key, blobs: dict[str, bytes] | None = None) -> BackupSet:
    partial = opened(store, *keys)
    artifacts = []
    for path, data in (blobs or BLOBS).items():
        with partial.sink().artifact(path) as out:
            out.write(data)
        component = "postgresql" if path.startswith("postgresql") else "media"
        fixed = {"component": component, "linked_from": None, "tool": None, "seconds": 1, "bytes_per_second": 1}
        artifacts.append({**out.entry(), **fixed, "compression": "none"})
        partial.save_record({"component": component, "artifacts": [{"path": out.entry()["path"]}]}, artifacts[-1:])
    return store.publish(partial, manifest_of(partial, artifacts), NOW)


def content(store: Store, backup_set: BackupSet, *keys: Key) -> dict[str, bytes]:
    """Return what a restore reads with the identities."""
    found = {}
    for key in keys:
        source = plain_source(backup_set, IdentitySource(str(key.file)))
        for path in BLOBS:
            with source.artifact(path) as reader:
                found[path] = reader.read(1 << 30)
    return found


def info(store: Store, **options: Any) -> dict[str, Any]:
    return act(authentik_backup_set_info, store=store.root, instance="sso", **options)


def test_each_recipient_alone_reads_it_and_nobody_else(store: Store, tmp_path: Path) -> None:
    keys = [age_key(tmp_path, "a"), ssh_key(tmp_path, "b", "ed25519"), ssh_key(tmp_path, "c", "rsa")]
    backup_set = publish(store, *keys)
    for key in keys:
        assert content(store, backup_set, key) == BLOBS
        for path, data in BLOBS.items():
            assert decrypt(Path(backup_set.path, path + ".age"), key.file) == data
    with pytest.raises(InputError, match="none of the identities") as caught:
        content(store, backup_set, age_key(tmp_path, "other"))
    for key in keys:
        assert key.public.split()[1 if " " in key.public else 0] in caught.value.cause
    for part in ("authentik_encryption_identity_file", "authentik_encryption_identity_command", ENVIRONMENT):
        assert part in caught.value.hint


def test_without_an_identity_it_is_listed_and_verified_but_not_read(store: Store, tmp_path: Path) -> None:
    key = age_key(tmp_path, "a")
    backup_set = publish(store, key)
    (listed,) = info(store)["sets"]
    assert (listed["encryption"], listed["recipients"]) == ("age", [key.public])
    assert not info(store, backup_id="latest", verify=True).get("failed")
    refused = info(store, backup_id="latest", readable=True)
    assert refused["failed"]
    assert "no identity was given" in refused["msg"]
    assert backup_set.set_id in refused["msg"]
    assert not info(store, backup_id="latest", readable=True, identity_file=str(key.file)).get("failed")
    assert not info(store, backup_id="latest", readable=True, identity_command=["cat", str(key.file)]).get("failed")
    assert "is about one set" in info(store, readable=True)["msg"]


def test_the_identity_of_the_environment(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = age_key(tmp_path, "a")
    publish(store, key)
    monkeypatch.setenv(ENVIRONMENT, key.identity)
    found = info(store, backup_id="latest", readable=True, verify=True)
    assert not found.get("failed"), found
    assert key.identity.split()[-1] not in json.dumps(found)


def test_an_identity_that_does_not_fit_is_no_damage(store: Store, tmp_path: Path) -> None:
    backup_set = publish(store, age_key(tmp_path, "a"))
    before = info(store)
    for options in ({}, {"backup_id": "latest"}):
        found = info(store, verify=True, identity_file=str(age_key(tmp_path, "b").file), **options)
        assert "none of the identities" in json.dumps(found)
    assert [one["id"] for one in info(store)["sets"]] == [backup_set.set_id]
    assert info(store)["sets"][0]["verified"] == before["sets"][0]["verified"]


def test_the_manifest_says_what_is_stored_and_what_it_holds(store: Store, tmp_path: Path) -> None:
    keys = [age_key(tmp_path, "a"), age_key(tmp_path, "b")]
    backup_set = publish(store, *keys)
    manifest = json.loads(Path(backup_set.path, "manifest.json").read_text())
    jsonschema.validate(manifest, SCHEMA)
    for artifact in manifest["artifacts"]:
        stored, plain = Path(backup_set.path, artifact["path"]).read_bytes(), BLOBS[artifact["path"][:-4]]
        assert (artifact["size"], artifact["plain_size"]) == (len(stored), len(plain))
        assert artifact["sha256"] == hashlib.sha256(stored).hexdigest()
        assert artifact["plain_sha256"] == hashlib.sha256(plain).hexdigest()
        assert artifact["encryption"] == "age"
        assert artifact["recipients"] == sorted(key.public for key in keys)
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=backup_set.path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert sorted(line.partition(":")[0] for line in done.stdout.splitlines()) == sorted(
        [
            *(artifact["path"] for artifact in manifest["artifacts"]),
            "RESTORE.md",
            "manifest.json",
            "manifest.sha256.age",
        ]
    )
    seal = decrypt(Path(backup_set.path, "manifest.sha256.age"), keys[1].file)
    digest = hashlib.sha256(Path(backup_set.path, "manifest.json").read_bytes()).hexdigest()
    assert seal.decode() == digest + "  manifest.json\n"


def alter(path: Path, data: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(data)


@pytest.mark.parametrize("change", ["times", "whole artifact"])
def test_a_manifest_that_was_changed_with_its_checksum_is_noticed_by_whoever_can_read_the_set(
    store: Store, tmp_path: Path, change: str
) -> None:
    key = age_key(tmp_path, "a")
    backup_set = publish(store, key)
    folder = Path(backup_set.path)
    manifest = json.loads((folder / "manifest.json").read_text())
    if change == "times":
        manifest["finished"] = "2027-01-01T00:00:00Z"
    else:
        (folder / manifest["artifacts"].pop(0)["path"]).unlink()
        manifest["components"]["postgresql"]["artifacts"] = []
    text = _manifest.dump(manifest)
    alter(folder / "manifest.json", text)
    seal = (folder / "manifest.sha256.age").read_bytes()
    alter(folder / "SHA256SUMS", _manifest.sums_text(text, manifest, seal))
    assert [one["id"] for one in info(store)["sets"]] == [backup_set.set_id]
    found = info(store, backup_id="latest", readable=True, identity_file=str(key.file))
    assert "is not the one that was sealed" in found["msg"]


@pytest.mark.parametrize("name", ["manifest.sha256.age", "SHA256SUMS"])
def test_a_seal_that_is_missing_altered_or_not_listed_makes_it_no_set(store: Store, tmp_path: Path, name: str) -> None:
    folder = Path(publish(store, age_key(tmp_path, "a")).path)
    whole = (folder / name).read_bytes()
    lines = whole.split(b"\n")
    cut = [b"\n".join(lines[:number] + lines[number + 1 :]) for number in range(len(lines) - 1)]
    for data in [*cut, b"", whole[:-1], whole[:40] + bytes([whole[40] ^ 1]) + whole[41:]]:
        alter(folder / name, data)
        assert info(store)["sets"] == [], data
    (folder / name).unlink()
    (problem,) = info(store)["problems"]
    assert name in problem["reason"]
    alter_back(folder / name, whole)
    assert len(info(store)["sets"]) == 1


def alter_back(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def test_every_byte_of_a_small_artifact_counts(store: Store, tmp_path: Path) -> None:
    key = age_key(tmp_path, "a")
    small = {"postgresql/authentik.dump": SECRET, "static/media.tar.zst": b"m"}
    backup_set = publish(store, key, blobs=small)
    file = Path(backup_set.path, "postgresql/authentik.dump.age")
    whole = file.read_bytes()
    source = plain_source(backup_set, IdentitySource(str(key.file)))
    for position in range(len(whole)):
        alter(file, whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(IntegrityError, match="SHA-256") as caught:
            store.verify(backup_set, NOW, record_it=False)
        assert "authentik.dump.age" in caught.value.cause
        with (
            pytest.raises(IntegrityError, match="SHA-256") as caught,
            source.artifact("postgresql/authentik.dump") as inp,
        ):
            inp.drain()
        assert "authentik.dump.age" in caught.value.cause
    for size in range(len(whole)):
        alter(file, whole[:size])
        with pytest.raises(IntegrityError), source.artifact("postgresql/authentik.dump") as inp:
            inp.drain()
        assert info(store)["sets"] == []


def test_content_that_is_not_what_the_host_sent_is_noticed(store: Store, tmp_path: Path) -> None:
    """As somebody makes it who knows the public key alone and writes whole sets: by its own manifest it is damaged."""
    key = age_key(tmp_path, "a")
    backup_set = publish(store, key)
    forged: dict[str, Any] = json.loads(json.dumps(backup_set.manifest))
    forged["artifacts"][0]["plain_sha256"] = "0" * 64
    source = plain_source(backup_set, IdentitySource(str(key.file)))
    assert isinstance(source, DecryptingSource)
    source._records[next(iter(BLOBS))]["sha256"] = source._records[next(iter(BLOBS))]["plain_sha256"] = "0" * 64
    with (
        pytest.raises(IntegrityError, match=r"The content of .*authentik.dump.age"),
        source.artifact(next(iter(BLOBS))) as inp,
    ):
        inp.drain()


def is_encrypted(path: Path) -> bool:
    return path.read_bytes().startswith(AGE)


def test_nothing_plain_rests_in_the_store_also_when_the_run_is_killed(store: Store, tmp_path: Path) -> None:
    key = age_key(tmp_path, "a")
    publish(store, key)
    partial = opened(store, key)
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException), partial.sink().artifact("postgresql/authentik.dump") as out:
            for _number in range(40):
                out.write(SECRET * 1000)
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    (left,) = Path(partial.path, "postgresql").iterdir()
    assert left.stat().st_size > 100000
    assert is_encrypted(left)
    for path in Path(store.root).rglob("*"):
        if path.is_file():
            assert SECRET[:20] not in path.read_bytes(), path
            assert b"the-token-of-akadmin" not in path.read_bytes(), path


def test_a_set_without_recipients_is_plain_and_one_that_needs_some_is_not_opened(store: Store) -> None:
    plain = publish(store)
    assert plain.recipients == []
    assert info(store)["sets"][0]["encryption"] == "none"
    assert not info(store, backup_id="latest", readable=True).get("failed")
    options: dict[str, Any] = {"store": store.root, "instance": "other", "state": "open"}
    for check in (True, False):
        refused = act(authentik_backup_set, check=check, **options, require_encryption=True)
        assert refused["failed"]
        assert "authentik_encryption_recipients" in refused["msg"]
        mistaken = act(authentik_backup_set, check=check, **options, encryption_recipients=["age1oops"])
        assert "'age1oops'" in mistaken["msg"]
    assert not Path(store.root, "other").exists()


def test_a_set_is_not_published_with_an_artifact_that_is_not_encrypted(store: Store, tmp_path: Path) -> None:
    plain = store.open(NOW, b"xx", os.getpid())
    with plain.sink().artifact("static/media.tar") as out:
        out.write(b"plain")
    os.link(Path(plain.path, "static/media.tar"), tmp_path / "media.tar")
    plain.discard()
    partial = opened(store, age_key(tmp_path, "a"))
    Path(partial.path, "static").mkdir()
    os.link(tmp_path / "media.tar", Path(partial.path, "static/media.tar"))
    fixed = {"component": "media", "linked_from": None, "tool": None, "seconds": 1, "bytes_per_second": 1}
    entry = {**out.entry(), **fixed, "compression": "none"}
    partial.save_record({"component": "media", "artifacts": [{"path": "static/media.tar"}]}, [entry])
    with pytest.raises(IntegrityError, match="not encrypted to the recipients"):
        store.publish(partial, manifest_of(partial, [entry]), NOW)


_LARGE = """
import resource, sys
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._identity import IdentitySource
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._encrypted import DecryptingSource, StoreSink
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import DirectorySink, DirectorySource
folder, recipient, identity, megabytes = sys.argv[1:]
data = bytes(range(256)) * 4096
with StoreSink(DirectorySink(folder), [recipient]).artifact("a/b") as out:
    for _number in range(int(megabytes)):
        out.write(data)
entry = dict(out.entry(), component="media")
source = DecryptingSource(
    DirectorySource(folder, [entry]), {"artifacts": [entry], "components": {}}, IdentitySource(identity).load()
)
with source.artifact("a/b") as reader:
    reader.drain()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_artifact(tmp_path: Path) -> None:
    key = age_key(tmp_path, "a")
    root = Path(__file__).resolve().parents[2]
    peaks = []
    for megabytes in (1, 200):
        done = subprocess.run(
            [sys.executable, "-c", _LARGE, str(tmp_path / "set"), key.public, str(key.file), str(megabytes)],
            env={**os.environ, "PYTHONPATH": str(root / ".collections")}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 20 * 1024, "KiB: %s" % peaks


def test_a_mixed_or_misnamed_set_is_refused(store: Store, tmp_path: Path) -> None:
    one = publish(store, age_key(tmp_path, "a")).manifest
    changes: list[dict[str, Any]] = [
        {"recipients": ["age1other"]},
        {"recipients": []},
        {"recipients": "age1"},
        {"encryption": "none"},
        {"path": "postgresql/authentik.dump"},
    ]
    for change in changes:
        manifest = json.loads(json.dumps(one))
        manifest["artifacts"][0].update(change)
        with pytest.raises(RecoveryError, match="manifest is not valid"):
            _manifest.validate(manifest)
    for change in (changes[1], changes[-1]):
        manifest = json.loads(json.dumps(one))
        manifest["artifacts"][0].update(change)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(manifest, SCHEMA)


def test_what_the_host_sees_is_a_plain_set(store: Store, tmp_path: Path) -> None:
    manifest = publish(store, age_key(tmp_path, "a")).manifest
    seen = _manifest.validate(_manifest.plain_view(manifest))
    assert {artifact["path"]: artifact["size"] for artifact in seen["artifacts"]} == {
        path: len(data) for path, data in BLOBS.items()
    }
    assert "age" not in {artifact["encryption"] for artifact in seen["artifacts"]}
    assert "recipients" not in json.dumps(seen)
    assert seen["components"]["media"]["artifacts"] == [{"path": "static/media.tar.zst"}]
