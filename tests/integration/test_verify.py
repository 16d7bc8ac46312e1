# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verification of real sets: what passes, what is found although every checksum is right, and what cannot be said."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _decode, _files
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import PostgresSettings
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    IntegrityError,
    RecoveryError,
    StateError,
)
from tests.support.playbook import Run
from tests.support.site import NAME, Site, differences, shown

HERE = PostgresSettings(host="", port=5432, name="", user="")
KINDS = ("authentik.dump", "globals.sql", "dump.rdb", "media.tar", "config.tar")


@pytest.fixture(scope="module")
def good(site: Site) -> Path:
    """The folder of a set."""
    run = site.run("backup")
    assert run.ok, run.output
    (folder,) = site.sets()
    return folder


@pytest.fixture
def copy(good: Path, tmp_path: Path) -> Path:
    """A copy of the set that may be altered."""
    target = tmp_path / good.name
    shutil.copytree(good, target)
    for path in target.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return target


def retell(folder: Path, path: str) -> None:
    """Let the manifest and SHA256SUMS say what an artifact is now: as if it had been saved like that."""
    manifest = json.loads((folder / "manifest.json").read_text())
    data = (folder / path).read_bytes()
    for artifact in manifest["artifacts"]:
        if artifact["path"] == path:
            artifact.update(size=len(data), sha256=hashlib.sha256(data).hexdigest())
            artifact.update(plain_size=len(data), plain_sha256=artifact["sha256"])
    rewrite(folder, manifest)


def rewrite(folder: Path, manifest: dict[str, Any]) -> None:
    """Write another manifest, and SHA256SUMS that fits."""
    text = json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n"
    sums = "%s  manifest.json\n" % hashlib.sha256(text).hexdigest()
    entries = [manifest["instructions"], *manifest["artifacts"]]
    sums += "".join("%s  %s\n" % (one["sha256"], one["path"]) for one in entries)
    (folder / "manifest.json").write_bytes(text)
    (folder / "SHA256SUMS").write_text(sums)


def decode(site: Site, folder: Path) -> list[str]:
    manifest = json.loads((folder / "manifest.json").read_text())
    source = _files.DirectorySource(str(folder), manifest["artifacts"])
    return _decode.decode(manifest, source, HERE, str(site.instance.postgres.bin))


def artifact_of(folder: Path, kind: str) -> str:
    (path,) = folder.glob("*/%s*" % kind)
    return str(path.relative_to(folder))


def test_everything_decodes(site: Site, good: Path) -> None:
    manifest = json.loads((good / "manifest.json").read_text())
    done = decode(site, good)
    assert sorted(done) == sorted(artifact["path"] for artifact in manifest["artifacts"])
    assert {kind for kind in KINDS if any(kind in path for path in done)} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_what_was_saved_damaged_is_found(site: Site, copy: Path, kind: str, damage: str) -> None:
    path = artifact_of(copy, kind)
    data = (copy / path).read_bytes()
    spoilt = {"cut": data[: len(data) * 2 // 3], "empty": b"", "other": b"\x00" * len(data)}
    (copy / path).write_bytes(spoilt[damage])
    with pytest.raises(IntegrityError, match=r"SHA-256|bytes"):
        decode(site, copy)
    retell(copy, path)
    with pytest.raises(IntegrityError) as found:
        decode(site, copy)
    assert path in str(found.value)
    assert found.value.hint


def test_an_archive_of_another_tree_is_found(site: Site, copy: Path) -> None:
    path = artifact_of(copy, "media.tar")
    shutil.copy(copy / artifact_of(copy, "certs.tar"), copy / path)
    retell(copy, path)
    with pytest.raises(IntegrityError, match="not equal to the backup's fingerprint"):
        decode(site, copy)


def test_an_artifact_that_nothing_decodes_is_not_passed_over(site: Site, copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    component = next(name for name in manifest["components"] if name == "redis")
    manifest["components"][component]["component"] = "s3"
    manifest["components"]["s3"] = manifest["components"].pop(component)
    source = _files.DirectorySource(str(copy), manifest["artifacts"])
    with pytest.raises(StateError, match=r"cannot decode redis/dump\.rdb"):
        _decode.decode(manifest, source, HERE, str(site.instance.postgres.bin))


def test_without_the_programs_nothing_is_said_to_be_damaged(
    site: Site, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = json.loads((good / "manifest.json").read_text())
    source = _files.DirectorySource(str(good), manifest["artifacts"])
    with pytest.raises(RecoveryError, match="pg_restore") as missing:
        _decode.decode(manifest, source, HERE, "/nowhere")
    assert not isinstance(missing.value, IntegrityError)
    if any(path.endswith(".zst") for path in (artifact["path"] for artifact in manifest["artifacts"])):
        monkeypatch.setattr(_decode._process, "find_program", lambda *_names: None)
        with pytest.raises(RecoveryError, match="zstd") as missing:
            decode(site, good)
        assert not isinstance(missing.value, IntegrityError)


def records(folder: Path) -> dict[str, dict[str, Any]]:
    text = Path(str(folder) + ".verified.json").read_text()
    return {check["level"]: check for check in json.loads(text)["checks"]}


@pytest.fixture
def verify(site: Site) -> Callable[..., Run]:
    def run(check: bool = False, **variables: Any) -> Run:
        given = {"verify_bin_dir": str(site.instance.postgres.bin), **variables}
        return site.run("verify", check=check, **given)

    return run


@pytest.fixture
def second(site: Site, good: Path, copy: Path) -> Iterator[Path]:
    """A further set of the store, which may be altered."""
    target = good.parent / "20991124T110000Z-00aa"
    text = (copy / "manifest.json").read_text().replace(good.name, target.name)
    (copy / "manifest.json").write_text(text)
    shutil.copytree(copy, target)
    retell(target, artifact_of(target, "media.tar"))
    yield target
    shutil.rmtree(target)
    Path(str(target) + ".verified.json").unlink(missing_ok=True)


def test_the_playbook_decodes_on_the_controller_and_on_the_host(
    site: Site, good: Path, verify: Callable[..., Run]
) -> None:
    assert set(records(good)) == {"checksums"}
    run = verify(check=True, verify_level="decode")
    assert run.ok, run.output
    assert set(records(good)) == {"checksums"}, "check mode records nothing"
    for place in ("controller", "host"):
        Path(str(good) + ".verified.json").unlink()
        run = verify(verify_level="decode", verify_on=place)
        assert run.ok, run.output
        assert "%s: passed, decode of " % good.name in shown(run)
        assert not [one for one in run.results if one.result.get("changed")]
        assert records(good)["decode"]["ok"]
    skipped = verify(verify_level="decode", verify_sets=["all"], verify_days=1)
    assert "Nothing of %s is to be verified" % NAME in shown(skipped)
    assert "passed" in shown(verify(verify_level="checksums", verify_sets=[good.name], verify_days=1))


def test_a_set_is_restored_compared_and_dropped_again(
    site: Site, good: Path, second: Path, verify: Callable[..., Run]
) -> None:
    before, databases = site.instance.picture(), site.instance.postgres.databases()
    # A proof that was killed.
    owner = site.instance.database.owner
    site.instance.postgres.psql('CREATE DATABASE authentik_proof_20200101t000000z_0000 OWNER "%s"' % owner)
    run = verify(verify_level="restore", verify_sets=[good.name])
    assert run.ok, run.output
    manifest = json.loads((good / "manifest.json").read_text())
    tables = manifest["components"]["postgresql"]["fingerprint"]["tables"]
    rows = sum(table["rows"] for table in tables.values())
    assert "%s: passed, restore of " % good.name in shown(run)
    assert "%d rows of authentik were restored and are equal" % rows in shown(run)
    assert records(good)["restore"]["ok"]
    assert site.instance.postgres.databases() == databases
    assert differences(before, site.instance.picture()) == []
    # Decodes, and is not what was saved.
    manifest = json.loads((second / "manifest.json").read_text())
    manifest["components"]["postgresql"]["fingerprint"]["tables"]["public.authentik_core_user"]["rows"] += 1
    rewrite(second, manifest)
    run = verify(verify_level="restore", verify_sets=[second.name])
    assert not run.ok
    assert "authentik_core_user" in str(next(one for one in run.failures if one.action.endswith("fail")).result["msg"])
    assert not records(second)["restore"]["ok"]
    assert site.instance.postgres.databases() == databases


def test_every_set_is_verified_and_every_failure_named(
    site: Site, good: Path, second: Path, verify: Callable[..., Run]
) -> None:
    path = artifact_of(second, "authentik.dump")
    with open(second / path, "r+b") as dump:
        dump.truncate(os.path.getsize(second / path) // 2)
    retell(second, path)
    run = verify(verify_sets=["all"])
    assert run.ok, run.output
    run = verify(verify_level="decode", verify_sets=["all"])
    assert not run.ok
    failed = [one for one in run.failures if one.action.endswith("fail")]
    said = str(failed[0].result["msg"])
    assert "1 of 2 sets of %s could not be proved" % NAME in said
    assert "%s: %s" % (second.name, path) in said
    assert "recovery.list" in said
    assert "%s: passed" % good.name in shown(run)
    assert not records(second)["decode"]["ok"]
    listed = shown(site.run("list"))
    assert "%s: Its last verification failed: %s" % (second.name, path) in listed
    # A checksum does not cure what does not decode.
    assert verify(verify_sets=[second.name]).ok
    assert "Its last verification failed" in shown(site.run("list"))


def test_what_could_not_be_verified_fails_and_is_recorded_as_such(
    site: Site, good: Path, verify: Callable[..., Run]
) -> None:
    run = verify(verify_level="decode", verify_bin_dir="/nowhere")
    assert not run.ok
    assert "/nowhere holds no working pg_restore" in str(run.failures[-1].result["msg"])
    manifest = json.loads((good / "manifest.json").read_text())
    assert manifest["id"] == good.name
    listed = shown(site.run("list"))
    assert "decode could not be verified" in listed
    assert "not usable" not in listed
