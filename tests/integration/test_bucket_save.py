# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bucket of an instance's files, saved from a real S3 server: all of it, and what did not change only once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyrage
import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _decode
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError, RecoveryError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _bucket_read
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_client import make_client
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sets import BackupSet
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import Store
from tests.support.bucket import Files, content_of
from tests.support.s3_server import OTHER_ACCESS_KEY, OTHER_SECRET_KEY, S3Server

ICON = {"ContentType": "image/svg+xml", "CacheControl": "max-age=60", "Metadata": {"owner": "flow"}}
LOGO, REPORT = "media/public/application-icons/logo ü.svg", "reports/public/users.csv"


@pytest.fixture
def files(s3_server: S3Server, s3_bucket: str) -> Files:
    made = Files(s3_server, s3_bucket)
    made.put(LOGO, b"<svg/>", **ICON)
    made.put(REPORT, b"id;name\n", ContentType="text/csv", ContentDisposition="attachment")
    made.put("media/t_other/empty", b"")
    made.put("media/public/background", b"b" * 5000)
    # What is no file of the instance.
    made.put("media/public/folder/", b"")
    made.put("backups/authentik/manifest.json", b"{}")
    return made


def of_instance(files: Files) -> dict[str, Any]:
    content = files.content()
    return {key: content[key] for key in content if key.startswith(("media/", "reports/")) and not key.endswith("/")}


def test_a_set_holds_the_bucket_with_its_metadata(files: Files, store: Store) -> None:
    result = files.save(store)
    assert content_of(result["set"]) == of_instance(files)
    saved = content_of(result["set"])
    assert saved[LOGO] == (b"<svg/>", ICON)
    assert saved[REPORT][1]["ContentDisposition"] == "attachment"
    assert (result["objects"], result["read"], result["bytes"]) == (4, 4, 5014)
    record = result["set"].manifest["components"]["s3"]
    assert (record["fingerprint"]["files"], record["fingerprint"]["bytes"]) == (4, 5014)
    assert record["artifacts"][0]["path"] == "s3/index.json"


def test_what_did_not_change_is_not_read_again(files: Files, store: Store) -> None:
    first = files.save(store)
    again = files.save(store)
    assert (files.asked, again["read"], again["unchanged_since"]) == ([], 0, first["set"].set_id)
    files.put("media/public/new", b"new")
    files.put(REPORT, b"id;name\n1;akadmin\n", ContentType="text/csv")
    files.delete("media/t_other/empty")
    # The same content with other metadata, which a listing shows by its time alone.
    later = {**ICON, "CacheControl": "no-store"}
    _tick(files, lambda: files.put(LOGO, b"<svg/>", **later))
    third = files.save(store)
    assert sorted(path.rpartition("/")[2] for path in files.asked) == ["new", "users.csv"]
    assert (third["read"], third["deleted"], third["objects"]) == (2, 1, 4)
    assert content_of(third["set"]) == of_instance(files)
    assert content_of(third["set"])[LOGO] == (b"<svg/>", later)
    # Each set keeps what it had.
    assert "media/t_other/empty" in content_of(first["set"])
    artifacts = {artifact["path"]: artifact for artifact in third["set"].manifest["artifacts"]}
    linked = [path for path, artifact in artifacts.items() if artifact["linked_from"]]
    assert linked == ["s3/objects-%s.tar" % first["set"].set_id]
    where = [Path(one["set"].path) / linked[0] for one in (first, third)]
    assert where[0].stat().st_ino == where[1].stat().st_ino


def _tick(files: Files, write: Callable[[], None]) -> None:
    """Write until the listing's times, whole seconds, tell that it was."""

    def told() -> list[Any]:
        listed = files.raw.list_objects_v2(Bucket=files.name, Prefix="media/public/app")["Contents"]
        return [one["LastModified"].replace(microsecond=0) for one in listed]

    before = told()
    while told() == before:
        write()


def test_a_pack_that_is_damaged_or_mostly_dead_is_not_taken_over(files: Files, store: Store) -> None:
    files.put("media/public/large", b"x" * 20000)
    first = files.save(store)["set"]
    files.put("media/public/large", b"y" * 20000)
    second = files.save(store)
    # Half of the first pack and more was replaced.
    assert second["read"] == second["objects"] == 5
    assert [artifact["linked_from"] for artifact in second["set"].manifest["artifacts"]] == [None, None]
    pack = Path(second["set"].path) / ("s3/objects-%s.tar" % second["set"].set_id)
    data = bytearray(pack.read_bytes())
    data[-3000] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)
    third = files.save(store)
    assert third["read"] == 5
    assert "is damaged, and its objects are read anew" in third["warnings"][0]
    assert content_of(third["set"]) == of_instance(files)
    assert content_of(first)["media/public/large"][0] == b"x" * 20000


def test_an_encrypted_set_is_continued_by_who_cannot_read_it(files: Files, store: Store) -> None:
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    first = files.save(store, [recipient])
    text = (Path(first["set"].path) / "manifest.json").read_text()
    assert "logo" not in text
    assert "users.csv" not in text
    second = files.save(store, [recipient])
    assert (files.asked, second["read"], second["objects"]) == ([], 0, 4)
    # Another secret key of authentik cannot read the index either, so everything is read.
    third = files.save(store, [recipient], index_key="c" * 64)
    assert third["read"] == 4
    assert "cannot be decrypted" in third["warnings"][0]
    # Nor is a plain set continued by an encrypted one.
    assert files.save(store)["read"] == 4


def test_versions_are_those_of_the_listing(files: Files, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    files.raw.put_bucket_versioning(Bucket=files.name, VersioningConfiguration={"Status": "Enabled"})
    files.put(LOGO, b"<svg>then</svg>", **ICON)
    files.put(REPORT, b"id\n")
    files.put("media/public/deleted before", b"1")
    files.delete("media/public/deleted before")
    expected = of_instance(files)
    meanwhile(files, monkeypatch)
    result = files.save(store)
    assert content_of(result["set"]) == expected
    assert result["set"].manifest["components"]["s3"]["versioned"] is True
    after = files.save(store)
    assert (after["read"], after["deleted"]) == (1, 1)
    assert content_of(after["set"]) == of_instance(files)
    assert files.save(store)["read"] == 0


def meanwhile(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have an object replaced and another one deleted between the listing and the first read."""
    lock = threading.Lock()
    done: list[bool] = []
    real = _bucket_read.read_object

    def late(*arguments: Any) -> Any:
        with lock:
            if not done:
                files.put(LOGO, b"<svg>meanwhile</svg>", ContentType="x/y")
                files.delete(REPORT)
                done.append(True)
        return real(*arguments)

    monkeypatch.setattr(_bucket_read, "read_object", late)


def test_what_is_written_while_the_bucket_is_read_is_saved_whole(
    files: Files, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(files, monkeypatch)
    result = files.save(store)
    assert content_of(result["set"]) == of_instance(files)
    assert (result["objects"], content_of(result["set"])[LOGO][1]) == (3, {"ContentType": "x/y"})
    # Its entry is that of what was read, so nothing is left to read.
    assert files.save(store)["read"] == 0


def test_a_large_object_that_is_written_while_it_is_read_is_read_again(
    files: Files, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_bucket_read, "_SMALL_BYTES", 1000)
    old, new = os.urandom(3 * 1024**2), os.urandom(2 * 1024**2)
    files.put("media/public/large", old)
    real = _bucket_read.ObjectReader.read
    seen: list[int] = []

    def read(self: Any, size: int) -> bytes:
        if self.size == len(old) and self._position > 1024**2 and not seen:
            seen.append(self._position)
            files.put("media/public/large", new)
            self._body.close()
        return real(self, size)

    monkeypatch.setattr(_bucket_read.ObjectReader, "read", read)
    result = files.save(store)
    assert seen
    # By hand, tar gives the last one of a name.
    assert content_of(result["set"])["media/public/large"][0] == new
    decode(result["set"])


def decode(backup_set: BackupSet) -> list[str]:
    source = backup_set.folder.source(backup_set.manifest["artifacts"])
    nothing: Any = None
    return sorted(_decode.decode(backup_set.manifest, source, nothing, None))


def test_verification_reads_every_object(files: Files, store: Store) -> None:
    first = files.save(store)["set"]
    files.put("media/public/new", b"new content")
    second = files.save(store)["set"]
    packs = ["s3/objects-%s.tar" % one.set_id for one in (first, second)]
    assert decode(second) == ["s3/index.json", *packs]
    for change, told in (
        (lambda one: one.update(size=one["size"] + 1), "the manifest says"),
        (lambda one: one.update(member=1), "No pack holds the object media/public/new"),
        (lambda one: one.update(pack="s3/objects-20200101T000000Z-0000.tar"), "does not hold s3/objects-20200101"),
    ):
        with pytest.raises(IntegrityError, match=told):
            decode_with(second, change)


def decode_with(backup_set: BackupSet, change: Callable[[dict[str, Any]], Any]) -> None:
    """Decode the set with another index, whose checksum is right."""
    import hashlib
    import json

    folder = Path(backup_set.path)
    index = json.loads((folder / "s3/index.json").read_text())
    change(next(one for one in index["objects"] if one["key"] == "media/public/new"))
    text = json.dumps(index).encode()
    kept = (folder / "s3/index.json").read_bytes()
    entries = [dict(one) for one in backup_set.manifest["artifacts"]]
    entries[0].update(size=len(text), sha256=hashlib.sha256(text).hexdigest(), plain_size=len(text))
    entries[0]["plain_sha256"] = entries[0]["sha256"]
    (folder / "s3/index.json").chmod(0o600)
    (folder / "s3/index.json").write_bytes(text)
    try:
        nothing: Any = None
        _decode.decode(dict(backup_set.manifest, artifacts=entries), backup_set.folder.source(entries), nothing, None)
    finally:
        (folder / "s3/index.json").write_bytes(kept)


def test_thousands_of_small_objects_are_read_at_the_same_time(
    files: Files, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = 40
    for one in range(number):
        files.put("media/public/many/%03d" % one, b"%d" % one)
    running, most = [0], [0]
    real, lock = _bucket_read.open_object, threading.Lock()

    def counted(*arguments: Any) -> Any:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        try:
            return real(*arguments)
        finally:
            with lock:
                running[0] -= 1

    monkeypatch.setattr(_bucket_read, "open_object", counted)
    result = files.save(store)
    assert content_of(result["set"]) == of_instance(files)
    assert 2 <= most[0] <= files.bucket.client.options["parallel"]
    # One request for each object, and none for those that are known.
    assert len(files.asked) == number + 4


def test_older_releases_keep_tenants_in_the_root(s3_server: S3Server, s3_bucket: str, store: Store) -> None:
    files = Files(s3_server, s3_bucket, folders=())
    for key in ("public/icon", "t_one/icon", "media/public/icon", "backups/sso/x", "template/icon"):
        files.put(key, b"x")
    assert sorted(content_of(files.save(store)["set"])) == ["public/icon", "t_one/icon"]


def test_keys_that_may_not_read_are_told_and_leave_nothing(s3_server: S3Server, files: Files, store: Store) -> None:
    for keys, told in (
        ({"secret_key": "wrong"}, r"(?i)secret|signature|key"),
        ({"access_key": OTHER_ACCESS_KEY, "secret_key": OTHER_SECRET_KEY}, files.name),
    ):
        files.bucket = files.bucket._replace(client=make_client(s3_server.options(**keys, retry_seconds=1)))
        with pytest.raises(RecoveryError, match=told):
            files.save(store)
    assert store.list_sets() == ([], [])


def test_an_object_that_cannot_be_read_fails_the_run_by_its_name(
    files: Files, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.put("media/public/a//b", b"")
    with pytest.raises(RecoveryError, match="a//b"):
        files.save(store)
    assert store.list_sets() == ([], [])


# Does what was asked of the endpoint with the same words that the API has.
AWS = """\
#!%s
import json, sys
import boto3
assert sys.argv[1:3] == ["--endpoint-url", %r] and sys.argv[3:6] == ["s3api", "put-object", "--cli-input-json"]
assert sys.argv[7] == "--body"
with open(sys.argv[8], "rb") as body:
    client = boto3.client("s3", endpoint_url=sys.argv[2], region_name="us-east-1")
    client.put_object(Body=body, **json.loads(sys.argv[6]))
"""


@pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq")
def test_restore_md_brings_the_objects_back_by_hand(
    s3_server: S3Server, files: Files, store: Store, tmp_path: Path
) -> None:
    files.put("media/public/-x $(touch pwned) '*\"", b"nasty", **ICON)
    files.save(store)
    files.put(REPORT, b"id;name\n1;akadmin\n", ContentType="text/csv")
    folder = Path(files.save(store)["set"].path)
    expected = of_instance(files)
    text = (folder / "RESTORE.md").read_text()
    assert "No commands are known" not in text
    script = "".join(re.findall(r"^```bash\n(.*?)^```$", text, re.S | re.M))
    script = script.replace('WORK="/root/authentik-$ID"', "WORK=%s" % (tmp_path / "work"))
    # The services of this machine are not authentik's.
    script = re.sub(r"=\(systemctl .*\)", "=(true)", script)
    keys = [key for key in files.content() if key not in expected]
    files.delete(*files.content())
    (tmp_path / "aws").write_text(AWS % (sys.executable, s3_server.url))
    (tmp_path / "aws").chmod(0o755)
    given = s3_server.options()
    environment = {
        **os.environ,
        "PATH": "%s:%s" % (tmp_path, os.environ["PATH"]),
        "AWS_ACCESS_KEY_ID": str(given["access_key"]),
        "AWS_SECRET_ACCESS_KEY": str(given["secret_key"]),
    }
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert keys
    assert files.content() == expected
