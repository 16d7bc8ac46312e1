# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An instance whose files lie in S3, through the playbooks. What is in its bucket is told by boto3 itself."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.support.bucket import Content, Files, content_of_folder
from tests.support.playbook import Run
from tests.support.s3_server import S3Server, s3_server
from tests.support.site import Site, differences, shown, site

__all__ = ["s3_server", "site"]

STORAGE = """\
    backend: s3
    s3:
      endpoint: %(url)s
      region: us-east-1
      bucket_name: %(bucket)s
      access_key: env://S3_ACCESS
      secret_key: file://%(secret)s
"""
ICON = {"ContentType": "image/svg+xml", "CacheControl": "max-age=60", "Metadata": {"owner": "flow"}}
ID, OLD = "20261124T040000Z-1b2c", "20261101T040000Z-1b2c"
TO_DISK, TO_BUCKET = "20261125T040000Z-1b2c", "20261126T040000Z-1b2c"
OWNER = (os.geteuid(), os.getegid()) if os.geteuid() else (1234, 1235)


def leave(files: Files) -> Content:
    """Give the bucket other content, and return it."""
    files.put("public/application-icons/app 1.svg", b"<svg>other</svg>", ContentType="text/plain")
    files.delete("public/application-icons/app 2.svg")
    files.put("public/application-icons/after.svg", b"<svg/>", **ICON)
    return files.content()


def live(files: Files) -> Content:
    """Return what is the instance's now."""
    return {key: one for key, one in files.content().items() if not key.startswith(("authentik-", "backups/"))}


def configure(site: Site, old: str, new: str) -> None:
    config = site.instance.root / "etc/authentik/config.yml"
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))


def files_below(folder: Path) -> dict[str, bytes]:
    """Return the content of all files, which belong to authentik and are plain ones."""
    found = {}
    for place, folders, names in os.walk(folder):
        for name in folders + names:
            info = Path(place, name).lstat()
            assert (info.st_uid, info.st_gid) == OWNER, name
            assert oct(info.st_mode) == ("0o40755" if name in folders else "0o100644"), name
        found.update({str(Path(place, name).relative_to(folder)): Path(place, name).read_bytes() for name in names})
    return found


def storage(site: Site, s3_server: S3Server, bucket: str) -> str:
    secret = site.instance.root / "etc/authentik/s3_secret"
    return STORAGE % {"url": s3_server.url, "bucket": bucket, "secret": secret}


@pytest.fixture(scope="module")
def files(site: Site, s3_server: S3Server) -> Files:
    """The instance of the site has its media in a bucket from now on."""
    name = "recovery-%s" % os.urandom(6).hex()
    s3_server.judge.create_bucket(Bucket=name)
    made = Files(s3_server, name)
    for number in range(6):
        made.put("public/application-icons/app %d.svg" % number, b"<svg>%d</svg>" % number, **ICON)
    made.put("t_other/flow-backgrounds/a.jpg", b"\xff\xd8" * 4000, ContentType="image/jpeg")
    made.put("backups/none of the instance", b"x")
    etc = site.instance.root / "etc"
    (etc / "authentik/s3_secret").write_text(str(s3_server.options()["secret_key"]))
    configure(site, "    backend: file\n", storage(site, s3_server, name))
    with (etc / "default/authentik").open("a") as environment:
        environment.write("S3_ACCESS=%s\n" % s3_server.options()["access_key"])
    return made


@pytest.fixture(scope="module")
def backup(site: Site, files: Files) -> tuple[Run, Content]:
    """A set of all of it, and what was in the bucket."""
    made = site.run("backup", options=["-vvv"])
    assert made.ok, made.output
    return made, live(files)


def test_files_in_a_bucket_are_saved_restored_and_put_back(
    site: Site, s3_server: S3Server, files: Files, backup: tuple[Run, Content]
) -> None:
    made, before = backup
    folder = site.sets()[0]
    assert content_of_folder(folder) == before
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["components"]["s3"]["bucket"] == files.name
    assert "s3/index.json" in shown(made)
    verified = site.run("verify", verify_level="decode", verify_bin_dir=str(site.instance.postgres.bin))
    assert verified.ok, verified.output
    now = leave(files)
    checked = site.run("restore", check=True, components=["s3"])
    assert checked.ok, checked.output
    assert "1 object new, 1 replaced, 1 deleted" in shown(checked)
    assert files.content() == now
    hasty = site.copy_collection({})
    signs = hasty / "ansible_collections/authentik_ops/recovery/plugins/plugin_utils/_sign_of_life.py"
    signs.write_text(signs.read_text().replace("EVERY_SECONDS = 60.0\n", "EVERY_SECONDS = 0.01\n"))
    restored = site.run(
        "restore", options=["-vvv"], collections=hasty, components=["s3", "certs"], restore_id=ID, safety_set=True
    )
    assert restored.ok, restored.output
    # While the controller works it gives signs of life on the host.
    for task in ("Files in S3: prepare", "Files in S3: swap"):
        ran = re.search(r"TASK \[[^]]*%s\].*?(?=\nTASK \[)" % task, restored.output, re.S)
        assert ran, restored.output
        assert "authentik_restore_record.py" in ran.group(), ran.group()
    assert live(files) == before
    safety = site.sets()[-1]
    assert content_of_folder(safety) == {key: one for key, one in now.items() if not key.startswith("backups/")}
    kept = "s3://%s/authentik-before-%s" % (files.name, ID)
    assert kept + "/" in shown(restored)
    # Of an older restore, and of no restore at all.
    files.put("authentik-before-%s/journal.json" % OLD, b"{}")
    files.put("authentik-before-%s/objects/public/x" % OLD, b"12345")
    files.put("authentik-before-mine/x", b"x")
    there = set(files.content())
    cleaned = site.run("cleanup", cleanup_days=0)
    assert cleaned.ok, cleaned.output
    assert "s3://%s/authentik-before-%s (7 B" % (files.name, OLD) in shown(cleaned)
    assert re.search(r"%s \(.*\) stays: of the latest restore of" % kept, shown(cleaned))
    assert there - set(files.content()) == {key for key in there if OLD in key}
    files.delete("authentik-before-mine/x")
    refused = refused_without_its_journal(site, files)
    back = site.run("rollback", restore_id=ID)
    assert back.ok, back.output
    assert files.content() == now
    record = json.loads((site.instance.root / "var/lib/authentik-recovery" / ID / "restore.json").read_text())
    assert record["undo"]["swapped"] == {"bucket": files.name, "endpoint": s3_server.url, "changed": False}
    for run in (made, verified, restored, cleaned, refused, back):
        assert str(s3_server.options()["secret_key"]) not in run.output + str(run.results), "the secret key was logged"


def refused_without_its_journal(site: Site, files: Files) -> Run:
    """What is left in the bucket is no way back, which is seen before the directory goes back."""
    journal, before = "authentik-before-%s/journal.json" % ID, site.instance.picture()
    data = files.content()[journal][0]
    files.delete(journal)
    refused = site.run("rollback", restore_id=ID)
    assert not refused.ok
    assert "%s is gone" % journal in refused.message
    assert "-e authentik_rollback_bucket=false" in refused.message
    assert differences(before, site.instance.picture()) == []
    files.put(journal, data)
    return refused


def test_files_go_from_the_bucket_to_a_disk_and_back_and_both_is_undone(
    site: Site, s3_server: S3Server, files: Files, backup: tuple[Run, Content]
) -> None:
    """The set of the bucket, into the instance after it was given its files on a disk; then a set of that, into S3."""
    configure(site, storage(site, s3_server, files.name), "    backend: file\n")
    chosen, media = site.sets()[0].name, site.instance.folders[0]
    os.chown(media, *OWNER)
    media.chmod(0o750)
    site.instance.database.psql("UPDATE authentik_core_user SET name = 'changed'")
    before, bucket = site.instance.picture(), files.content()
    refused = site.run("restore", check=True, backup_id=chosen)
    assert "has the files of the instance in S3" in refused.message
    told = re.search(r"give -e '(.*)'", refused.message)
    assert told, refused.message
    held = json.loads((site.sets()[0] / "manifest.json").read_text())["components"]
    assert set(json.loads(told[1])["authentik_components"]) == set(held) - {"config"}
    restored = site.run(
        "restore", backup_id=chosen, components=["postgresql", "s3"], restore_id=TO_DISK, safety_set=True
    )
    assert restored.ok, restored.output
    assert "files of S3 have no owner: they are given to %d:%d, the " % OWNER in shown(restored)
    assert files_below(media) == {key: data for key, (data, _about) in backup[1].items()}
    assert (media.stat().st_uid, media.stat().st_gid, oct(media.stat().st_mode)) == (*OWNER, "0o40750")
    assert "changed" not in site.instance.database.psql("SELECT name FROM authentik_core_user")
    safety = json.loads((site.sets()[-1] / "manifest.json").read_text())
    assert sorted(safety["components"]) == ["media", "postgresql"]
    assert files.content() == bucket
    back = site.run("rollback", restore_id=TO_DISK)
    assert back.ok, back.output
    assert differences(before, site.instance.picture()) == []
    assert files.content() == bucket
    assert [path.name for path in media.parent.iterdir() if path.name.startswith("media")] == ["media"]

    # The safety set has the directory.
    configure(site, "    backend: file\n", storage(site, s3_server, files.name))
    there = {os.path.relpath(os.path.join(place, name), media): Path(place, name).read_bytes()
             for place, _folders, names in os.walk(media) for name in names}  # fmt: skip
    moved = site.run("restore", backup_id=site.sets()[-1].name, components=["media"], restore_id=TO_BUCKET)
    assert moved.ok, moved.output
    odd = [name for name in there if not name.isprintable()]
    assert {key: data for key, (data, _about) in live(files).items()} == {
        name: data for name, data in there.items() if name not in odd
    }
    assert "no object can be named so, 1 object: public/not-utf-8-%FF.png" in shown(moved)
    back = site.run("rollback", restore_id=TO_BUCKET)
    assert back.ok, back.output
    assert files.content() == bucket
    assert differences(before, site.instance.picture()) == []
