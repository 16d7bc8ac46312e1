# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``make demo``: a throwaway instance, a backup, a disaster, a restore, and the proof. Needs no root and no Docker."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from tests.demo import oracle
from tests.demo.ansible import Ansible, Part
from tests.demo.instance import Instance, Picture
from tests.support import oracle as database_oracle

NAME = "sso.example.org"


def main() -> int:
    """Run the demo; return 0 only when everything that was lost came back equal."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--keep", metavar="DIR", type=Path, help="keep the backup set: use this folder as the store")
    parser.add_argument("--events", metavar="N", type=int, default=1500, help="events in the database (default: 1500)")
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="authentik-demo-"))
    root.chmod(0o755)
    store = (arguments.keep or root / "store").resolve()
    try:
        with Instance(root / "host", arguments.events) as instance:
            return _run(instance, Ansible(root / "controller"), store, bool(arguments.keep))
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _run(instance: Instance, ansible: Ansible, store: Path, keep: bool) -> int:
    _title("An authentik instance: PostgreSQL %d, Redis, files, configuration" % instance.postgres.major)
    instance.create()
    instance.inventory(ansible.inventory, NAME)
    before = instance.picture()
    _say("%d rows in %d tables, %d Redis keys, %d files and folders, in %s" % (
        before.rows, len(before.database.copied), len(before.keys), len(before.files), instance.root))  # fmt: skip

    variables = {"authentik_store": str(store), "authentik_allow_ephemeral_store": True}
    _title("Backup")
    backup = ansible.playbook("playbooks/backup.yml", variables)

    _title("Disaster: the database is dropped, the media files are deleted, Redis is flushed")
    instance.disaster()
    files, keys = oracle.read_files(instance.folders), instance.redis.content()
    lost_files, lost_keys = oracle.different(before.files, files), oracle.different(before.keys, keys)
    databases = instance.postgres.databases()
    _say("databases left: %s" % (", ".join(databases) or "none"))
    _say("lost: %d rows, %d files and folders, %d Redis keys" % (before.rows, len(lost_files), len(lost_keys)))

    _title("Restore")
    restore = ansible.playbook("playbooks/restore.yml", variables)
    ansible.playbook("playbooks/list.yml", variables)

    _title("Proof, by pg_dump, os.walk and DUMP: nothing of the collection takes part in it")
    problems = _compare(before, instance.picture())
    _times("backup", backup)
    _times("restore", restore)
    sets = sorted(path.parent for path in store.glob("%s/*/manifest.json" % NAME))
    for path in sets:
        manifest = json.loads((path / "manifest.json").read_text())
        size = sum(artifact["size"] for artifact in manifest["artifacts"])
        what = "what the disaster had left, saved before the restore" if "purpose" in manifest else "the set"
        _say("%s: %s (%.1f MB)" % (what, path, size / 1e6))
    _say("kept" if keep else "removed now; keep them with --keep DIR")
    return 1 if problems else 0


def _compare(before: Picture, after: Picture) -> list[str]:
    database = database_oracle.differences(before.database, after.database)
    files = [str(name) for name in oracle.different(before.files, after.files)]
    keys = [repr(name) for name in oracle.different(before.keys, after.keys)]
    for what, expected, found, differences in (
        ("rows", before.rows, after.rows, database),
        ("files and folders", len(before.files), len(after.files), files),
        ("Redis keys", len(before.keys), len(after.keys), keys),
    ):
        verdict = "DIFFERENT" if differences else "equal"
        _say("%-18s %7d before  %7d after  %s" % (what, expected, found, verdict))
        for line in differences[:10]:
            _say("    %s" % line)
    return database + files + keys


def _times(what: str, parts: list[Part]) -> None:
    total = sum(part.seconds for part in parts)
    _say("%s: %.1f s" % (what, total))
    for part in sorted(parts, key=lambda part: -part.seconds)[:6]:
        _say("    %5.1f s  %s" % (part.seconds, part.name))


def _title(text: str) -> None:
    print("\n== %s" % text, flush=True)


def _say(text: str) -> None:
    print("   %s" % text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
