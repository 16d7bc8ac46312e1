# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Encrypted sets from end to end: the playbooks, a real instance, and the program age as the judge.

The tests build on each other, in their order.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.demo.instance import PASSWORD, SECRET_KEY, Picture
from tests.support import oracle as database_oracle
from tests.support.age import Key, age_key, decrypt, ssh_key
from tests.support.site import NAME, Site, differences, leave, shown

AGE = b"age-encryption.org/v1\n"
# What tells files that are not encrypted: manifests and their like, which hold no secrets.
OPEN = ("manifest.json", "RESTORE.md", "SHA256SUMS", ".verified.json")


@pytest.fixture(scope="module")
def keys(site: Site) -> list[Key]:
    """Two recipients, and one who is none."""
    return [age_key(site.root, "mine"), ssh_key(site.root, "yours", "ed25519"), age_key(site.root, "nobodys")]


@pytest.fixture(scope="module")
def before(site: Site, keys: list[Key]) -> Picture:
    """What the instance held when its first set was made, which is encrypted to the first two."""
    site.saves_first = True
    picture = site.instance.picture()
    run = site.run("backup", encryption_recipients=recipients(keys))
    assert run.ok, run.output
    last = shown(run).splitlines()[-1]
    assert last.startswith("Encrypted to ")
    assert keys[0].public in last
    return picture


def recipients(keys: list[Key]) -> list[str]:
    return [key.public for key in keys[:2]]


def manifest(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "manifest.json").read_text()))


def assert_nothing_plain(site: Site) -> None:
    """Look at every file in the store, by its beginning and for secrets of the instance."""
    files = [path for path in site.store.rglob("*") if path.is_file()]
    assert files
    secrets = [text.encode() for text in (SECRET_KEY, PASSWORD, site.instance.postgres.password)]
    for path in files:
        content = path.read_bytes()
        if ".components" not in path.parts and not path.name.endswith((*OPEN, ".owner.json")):
            assert content.startswith(AGE), path
        for secret in (*secrets, b"CREATE TABLE", b"PGDMP", b"REDIS0"):
            assert secret not in content, path


def test_a_mistaken_recipient_or_none_where_some_are_required_opens_nothing(site: Site, keys: list[Key]) -> None:
    for variables, says in (
        ({"encryption_recipients": [keys[0].public, "age1oops"]}, "'age1oops'"),
        ({"require_encryption": True}, "authentik_encryption_recipients"),
    ):
        run = site.run("backup", **variables)
        assert not run.ok
        assert says in run.output
        assert not site.store.exists()


def test_backup_leaves_nothing_plain_in_the_store(site: Site, keys: list[Key], before: Picture) -> None:
    assert_nothing_plain(site)
    (folder,) = site.sets()
    for artifact in manifest(folder)["artifacts"]:
        assert artifact["path"].endswith(".age")
        assert artifact["encryption"] == "age"
        assert len(decrypt(folder / artifact["path"], keys[1].file)) == artifact["plain_size"]
    assert (folder / "manifest.sha256.age").exists()
    said = shown(site.run("list"))
    assert " age " in next(line for line in said.splitlines() if folder.name in line)


def test_a_second_backup_links_what_did_not_change_only_for_the_same_recipients(
    site: Site, keys: list[Key], before: Picture
) -> None:
    first = site.sets()[0]
    media = next(artifact["path"] for artifact in manifest(first)["artifacts"] if "/media." in artifact["path"])
    same = site.run("backup", components=["media"], encryption_recipients=recipients(keys)[::-1])
    assert same.ok, same.output
    other = site.run("backup", components=["media"], encryption_recipients=[keys[2].public])
    assert other.ok, other.output
    _first, second, third = site.sets()
    assert (first / media).stat().st_ino == (second / media).stat().st_ino
    assert manifest(second)["artifacts"][0]["linked_from"] == first.name
    assert manifest(third)["artifacts"][0]["linked_from"] is None
    assert manifest(third)["artifacts"][0]["recipients"] == [keys[2].public]
    assert decrypt(third / media, keys[2].file) == decrypt(first / media, keys[0].file)
    assert_nothing_plain(site)


def test_without_the_right_identity_nothing_is_touched(site: Site, keys: list[Key], before: Picture) -> None:
    wanted = site.sets()[0].name
    for identity, says in ((None, "no identity was given"), (str(keys[2].file), "none of the identities")):
        given: dict[str, Any] = {"encryption_identity_file": identity} if identity else {}
        run = site.run("restore", check=identity is None, backup_id=wanted, **given)
        assert not run.ok
        for part in (says, wanted, keys[0].public, "authentik_encryption_identity_file"):
            assert part in run.output
        assert not [result for result in run.results if result.result.get("changed")]
    assert differences(before, site.instance.picture()) == []
    assert site.leftovers() == []


def test_check_mode_reads_everything_with_the_identity_of_a_command(
    site: Site, keys: list[Key], before: Picture
) -> None:
    run = site.run(
        "restore", check=True, backup_id=site.sets()[0].name, options=["-vvv"],
        encryption_identity_command=["cat", str(keys[0].file)],
    )  # fmt: skip
    assert run.ok, run.output
    assert "authentik_before_" in shown(run)
    assert keys[0].identity.split()[-1] not in run.output + json.dumps([one.result for one in run.results])
    assert differences(before, site.instance.picture()) == []


def test_verify_decodes_with_an_identity_and_calls_no_set_damaged_without_one(
    site: Site, keys: list[Key], before: Picture
) -> None:
    wanted = site.sets()[0].name
    given: dict[str, Any] = {
        "verify_sets": [wanted],
        "verify_level": "decode",
        "verify_bin_dir": str(site.instance.postgres.bin),
    }
    run = site.run("verify", **given)
    assert not run.ok
    assert "no identity was given" in run.output
    assert wanted + ": unproved" in shown(run)
    assert wanted in shown(site.run("list"))
    run = site.run("verify", encryption_identity_file=str(keys[0].file), **given)
    assert run.ok, run.output
    assert wanted + ": passed, decode" in shown(run)


def test_restore_with_the_identity_of_the_environment_brings_everything_back(
    site: Site, keys: list[Key], before: Picture
) -> None:
    leave(site)
    changed = site.instance.picture()
    wanted = site.sets()[0]
    env = {"AUTHENTIK_RECOVERY_IDENTITY": keys[1].identity}
    run = site.run("restore", backup_id=wanted.name, env=env, options=["-vvv"])
    assert run.ok, run.output
    assert differences(before, site.instance.picture()) == []
    assert keys[1].identity.splitlines()[2] not in run.output + json.dumps([one.result for one in run.results])
    # What it replaced was saved for the same recipients, although none were named.
    safety = site.sets()[-1]
    assert manifest(safety)["purpose"] == "safety"
    assert manifest(safety)["artifacts"][0]["recipients"] == manifest(wanted)["artifacts"][0]["recipients"]
    assert_nothing_plain(site)
    run = site.run("restore", backup_id=safety.name, safety_set=False, encryption_identity_file=str(keys[0].file))
    assert run.ok, run.output
    assert differences(changed, site.instance.picture()) == []


def test_a_backup_that_is_killed_leaves_nothing_plain(site: Site, keys: list[Key], before: Picture) -> None:
    find = "__import__('glob').glob(%r)[0]" % str(site.store / NAME / "*.partial" / ".owner.json")
    kill = "__import__('os').kill(__import__('json').load(open(%s))['pid'], 9)" % find
    broken = site.copy_collection({"authentik_config": kill})
    run = site.run("backup", collections=broken, encryption_recipients=recipients(keys))
    assert not run.ok
    (left,) = (site.store / NAME).glob("*.partial")
    assert {"postgresql", "static", "redis"} <= {path.name for path in left.iterdir()}
    assert_nothing_plain(site)


def test_a_set_without_recipients_says_so_in_the_last_line(site: Site, before: Picture) -> None:
    run = site.run("backup", components=["certs"])
    assert run.ok, run.output
    assert shown(run).splitlines()[-1].startswith("This set is not encrypted")
    folder = site.sets()[-1]
    assert manifest(folder)["artifacts"][0]["linked_from"] is None
    assert not (folder / "manifest.sha256.age").exists()
    # The identity of earlier sets may be named all the same.
    assert site.run("restore", check=True, backup_id=folder.name, encryption_identity_file=os.devnull).ok


def test_in_place_a_failure_after_the_drop_brings_back_every_database(
    site: Site, keys: list[Key], before: Picture
) -> None:
    server = site.instance.postgres
    server.psql("CREATE DATABASE wiki OWNER authentik TEMPLATE template0 ENCODING 'UTF8'")
    filled = "CREATE TABLE page AS SELECT n, md5(n::text) AS text FROM generate_series(1, 90) n"
    server.psql(filled, "wiki", "authentik", PASSWORD)
    # What earlier restores kept is there, too.
    databases = server.databases()
    both: dict[str, Any] = {"components": ["postgresql"], "encryption_recipients": recipients(keys)}
    run = site.run("backup", postgresql_method="dumpall", **both)
    assert run.ok, run.output
    site.instance.database.psql("UPDATE authentik_core_user SET name = 'changed once more'")
    server.psql("UPDATE page SET text = 'changed'; DELETE FROM page WHERE n > 80", "wiki", "authentik", PASSWORD)
    old = {name: database_oracle.take(server, name) for name in ("authentik", "wiki")}
    # Both were dropped, loaded and proved; on the way back the modules work.
    broken = site.copy_collection(
        {"authentik_pg_restore": "ctx.params['step'] == 'prepare' and ctx.params['version_policy'] != 'force'"}
    )
    run = site.run(
        "restore",
        restore_mode="in_place",
        collections=broken,
        backup_id=site.sets()[-1].name,
        postgresql_databases=["authentik", "wiki"],
        encryption_identity_file=str(keys[0].file),
        **both,
    )
    assert not run.ok
    safety = site.sets()[-1]
    told = run.failures[-1].result["msg"]
    assert "It was restored from the safety set %s and proved" % safety.name in told, run.output
    assert {entry["encryption"] for entry in manifest(safety)["artifacts"]} == {"age"}
    assert server.databases() == databases
    for name, picture in old.items():
        assert database_oracle.differences(picture, database_oracle.take(server, name)) == []
