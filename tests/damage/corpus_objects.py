# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kinds of damaged sets of a bucket: its index and its packs. The good set is made with ``json`` and ``tarfile``."""

from __future__ import annotations

import datetime
import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _manifest
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import open_store
from tests.damage.corpus import DECODE, LIST, READ, Kind, cut, directory, extra, flipped, pipe, saved, symlink, text
from tests.support.store import entry

INSTANCE = "sso"
INDEX = "s3/index.json"
#: The last one holds what was gone again when the index was written.
PACKS = tuple("s3/objects-2026110%dT000000Z-000%d.tar" % (day, day) for day in (1, 2, 3))
CONTENT = {"media/public/a.svg": b"<svg/>", "media/t_two/b.jpg": bytes(range(256)) * 40, "reports/public/c.csv": b"c\n"}
_NOW = datetime.datetime(2026, 11, 28, 9, 0, tzinfo=datetime.UTC)


def packed(*members: tuple[str, bytes | None]) -> bytes:
    """Return a pack; None makes a symbolic link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for key, data in members:
            info = tarfile.TarInfo(key)
            info.size = len(data or b"")
            info.type, info.linkname = (tarfile.SYMTYPE, "/etc/passwd") if data is None else (tarfile.REGTYPE, "")
            tar.addfile(info, io.BytesIO(data or b""))
    return out.getvalue()


def make(root: Path) -> Path:
    """Publish a good set, and return its folder."""
    keys = sorted(CONTENT)
    packs = [
        packed(*((key, CONTENT[key]) for key in keys[:2])),
        packed((keys[2], CONTENT[keys[2]])),
        packed(("x", b"x")),
    ]
    facts = {"etag": '"e"', "version_id": "", "modified": "2026-11-01T10:00:00Z", "about": {}, "member": 0}
    digests = {key: hashlib.sha256(CONTENT[key]).hexdigest() for key in keys}
    objects = [
        {**facts, "key": key, "size": len(CONTENT[key]), "sha256": digests[key], "pack": PACKS[number // 2]}
        for number, key in enumerate(keys)
    ]
    place = {"bucket": "authentik", "endpoint": "https://s3.example.com", "folders": ["media", "reports"]}
    index = json.dumps({**place, "format": 1, "versioned": False, "objects": objects}).encode()
    lines = "".join("%s %s\0" % (digests[key], key) for key in keys)
    fingerprint = {
        "files": len(keys),
        "bytes": sum(map(len, CONTENT.values())),
        "formula": "authentik-recovery-objects-1",
    }
    fingerprint["digest"] = hashlib.sha256(lines.encode()).hexdigest()
    return _publish(root, {INDEX: index, **dict(zip(PACKS, packs, strict=True))}, {**place, "fingerprint": fingerprint})


def _publish(root: Path, files: dict[str, bytes], record: dict[str, Any]) -> Path:
    store = open_store(str(root), INSTANCE)
    partial = store.open(_NOW, b"\x01\x02", os.getpid())
    artifacts = []
    for path, data in files.items():
        with partial.sink().artifact(path) as out:
            out.write(data)
        artifacts.append(entry(path, out, "s3"))
    record = {**record, "component": "s3", "versioned": False, "warnings": []}
    record["artifacts"] = [{"path": path} for path in files]
    partial.save_record(record, artifacts)
    made_by = {"collection": "1.0.0", "ansible_core": "2.19.0"}
    instance = {"name": INSTANCE, "deployment": "host"}
    manifest = _manifest.build(partial.set_id, instance, _NOW, _NOW, made_by, artifacts, {"s3": record})
    return Path(store.publish(partial, manifest, _NOW).path)


def listed(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Change the index of somebody who can tell its checksum."""

    def work(data: bytes) -> bytes:
        index = json.loads(data)
        change(index)
        return json.dumps(index).encode()

    return saved("index.json", work)


def of_one(**facts: Any) -> Callable[[Path], None]:
    """Change what the index says of the first object, or leave it out where that is an ellipsis."""

    def change(index: dict[str, Any]) -> None:
        index["objects"][0].update(facts)
        index["objects"][0] = {name: value for name, value in index["objects"][0].items() if value is not ...}

    return listed(change)


def pack(number: int, work: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Damage a pack before its checksum was taken."""
    return saved(PACKS[number].partition("/")[2], work)


def byte(offset: int) -> Callable[[bytes], bytes]:
    """Alter the one at that place."""
    return lambda data: data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :]


_SECOND = 2 * tarfile.BLOCKSIZE
_FIRST, _LAST = PACKS[0], PACKS[2]
_KEY = sorted(CONTENT)[0]
_INVALID = INDEX + " is not valid: "

KINDS = {
    "no index": Kind(text(INDEX, lambda _data: None), LIST, INDEX + " is missing"),
    "index cut": Kind(text(INDEX, cut), LIST, INDEX + " holds .* were recorded"),
    "index altered": Kind(text(INDEX, flipped(0.5)), READ, INDEX + " has SHA-256"),
    "index is a link": Kind(symlink(INDEX), LIST, INDEX + " holds .* were recorded"),
    "index is a pipe": Kind(pipe(INDEX), LIST, INDEX + " holds 0 bytes"),
    "no pack": Kind(text(_FIRST, lambda _data: None), LIST, _FIRST + " is missing"),
    "pack cut": Kind(text(_FIRST, cut), LIST, _FIRST + " holds .* were recorded"),
    "pack altered": Kind(text(_FIRST, flipped(0.5)), READ, _FIRST + " has SHA-256"),
    "pack is a folder": Kind(directory(_FIRST), LIST, _FIRST + " is missing"),
    "a pack too many": Kind(extra("s3/objects-20261104T000000Z-0004.tar"), LIST, "-0004.tar is not in the manifest"),
    "index that is none, told": Kind(saved("index.json", lambda _data: b"[]"), DECODE, INDEX + " has a format that"),
    "index cut, told": Kind(saved("index.json", cut), DECODE, INDEX + " is not valid JSON"),
    "index that is not text, told": Kind(saved("index.json", lambda _data: b"\xff{"), DECODE, INDEX + " .*JSON"),
    "index nested without end, told": Kind(saved("index.json", lambda _data: b"[" * 200000), DECODE, INDEX + " .*JSON"),
    "index of a newer format, told": Kind(
        listed(lambda one: one.update(format=2)), DECODE, INDEX + " has a format that"
    ),
    "index without an object, told": Kind(
        listed(lambda one: one["objects"].pop()), DECODE, INDEX + " lists 2 objects .* the manifest says"
    ),
    "index with an object twice, told": Kind(
        listed(lambda one: one["objects"].append(one["objects"][0])), DECODE, _INVALID + r"objects\[3\]. names"
    ),
    "index with another name, told": Kind(of_one(key="media/public/z"), DECODE, INDEX + " lists 3 objects"),
    "index with another content, told": Kind(of_one(sha256="0" * 64), DECODE, INDEX + " lists 3 objects"),
    "index with another size, told": Kind(of_one(size=7), DECODE, INDEX + " lists 3 objects"),
    "index with a size that is text, told": Kind(of_one(size="6"), DECODE, _INVALID + r"objects\[0\].size is missing"),
    "index without a pack, told": Kind(of_one(pack=...), DECODE, _INVALID + r"objects\[0\].pack is missing"),
    "index with a pack elsewhere, told": Kind(of_one(pack="../../x.tar"), DECODE, _INVALID + ".*'../../x.tar'"),
    "index with a pack of nobody, told": Kind(
        of_one(pack="s3/objects-20261109T000000Z-0009.tar"), DECODE, "does not hold .*-0009.tar, which its index names"
    ),
    "index with another pack, told": Kind(of_one(pack=PACKS[1]), DECODE, "No pack holds the object " + _KEY),
    "index with another member, told": Kind(of_one(member=1), DECODE, "No pack holds the object " + _KEY),
    "index with more of an object, told": Kind(of_one(about={"ACL": "public-read"}), DECODE, _INVALID + ".*ACL"),
    "pack empty, told": Kind(pack(0, lambda _data: b""), DECODE, _FIRST + " is no whole archive"),
    "pack that is none, told": Kind(pack(0, lambda data: b"<" * len(data)), DECODE, _FIRST + " is no whole archive"),
    "pack cut in an object, told": Kind(pack(0, lambda data: data[:4000]), DECODE, _FIRST + " is no whole archive"),
    "pack with a header altered, told": Kind(pack(0, byte(0)), DECODE, _FIRST + " is no whole archive"),
    "pack with a later header altered, told": Kind(pack(0, byte(_SECOND)), DECODE, "No pack holds .*media/t_two/b.jpg"),
    "pack with an object altered, told": Kind(
        pack(0, byte(tarfile.BLOCKSIZE)), DECODE, re.escape("%s in %s has 6 bytes and SHA-256" % (_KEY, _FIRST))
    ),
    "pack with a shorter object, told": Kind(
        pack(0, lambda _data: packed((_KEY, b"<svg>"))), DECODE, re.escape("%s in %s has 5 bytes" % (_KEY, _FIRST))
    ),
    "pack without an object, told": Kind(
        pack(1, lambda _data: packed(("x", b""))), DECODE, "No pack holds the object reports/public/c.csv"
    ),
    "pack with a link, told": Kind(
        pack(0, lambda _data: packed((_KEY, None))), DECODE, _FIRST + " is no whole archive: .*link"
    ),
    "pack of nothing cut, told": Kind(pack(2, lambda data: data[:600]), DECODE, _LAST + " is no whole archive"),
}  # fmt: skip
#: What no object of the index lies in is read by a verification and by a restore into a bucket.
NOT_ON_A_DISK = ("pack of nothing cut, told",)
