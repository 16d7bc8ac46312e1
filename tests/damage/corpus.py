# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kinds of damaged sets: how each is made from a good one, when it has to be refused, and what has to be said.

``told`` kinds are those of somebody who knows the format: manifest and SHA256SUMS say what he made of the set.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

#: When a set is refused: when it is looked at in the store, when its bytes are read, when it is opened with an
#: identity, when its content is decoded.
LIST, READ, OPEN, DECODE = "list", "read", "open", "decode"

OTHER_ID = "20200101T000000Z-0bad"


class Kind(NamedTuple):
    """One kind of damage.

    :ivar make: does it to the folder of a good set; returns the folder where it is elsewhere afterwards.
    :ivar stage: at which it is refused, and not before.
    :ivar says: a regular expression that the cause holds.
    """

    make: Callable[[Path], Path | None]
    stage: str
    says: str


def one(folder: Path, pattern: str) -> Path:
    """Return the artifact of that kind."""
    (found,) = folder.glob("*/" + pattern)
    return found


def retell(folder: Path, change: Callable[[dict[str, Any]], object] = lambda manifest: None) -> None:
    """Change the manifest, and let it and SHA256SUMS say what lies in the set now."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for artifact in manifest["artifacts"]:
        path = folder / artifact["path"]
        if path.is_file():
            data = path.read_bytes()
            artifact["size"] = artifact["plain_size"] = len(data)
            artifact["sha256"] = artifact["plain_sha256"] = hashlib.sha256(data).hexdigest()
    change(manifest)
    tell(folder, json.dumps(manifest).encode())


def tell(folder: Path, text: bytes) -> None:
    """Write a manifest, and SHA256SUMS as they belong to it."""
    (folder / "manifest.json").write_bytes(text)
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    told = [hashlib.sha256((folder / line[66:]).read_bytes()).hexdigest() + line[64:] for line in lines]
    (folder / "SHA256SUMS").write_text("".join(line + "\n" for line in told))


def changed(path: str, value: object) -> Callable[[Path], None]:
    """Set a field of the manifest, or remove it where the value is an ellipsis."""

    def change(manifest: dict[str, Any]) -> None:
        *folders, last = path.split("/")
        place: Any = manifest
        for part in folders:
            place = place[int(part)] if isinstance(place, list) else place[part]
        if value is ...:
            del place[last]
        else:
            place[last] = value

    return lambda folder: retell(folder, change)


def text(name: str, work: Callable[[bytes], bytes | None]) -> Callable[[Path], None]:
    """Change the bytes of a file of the set and nothing else; None removes it."""

    def make(folder: Path) -> None:
        path = folder / name if (folder / name).exists() else one(folder, name)
        data = work(path.read_bytes())
        path.unlink()
        if data is not None:
            path.write_bytes(data)

    return make


def saved(pattern: str, work: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Damage an artifact before its checksum was taken."""

    def make(folder: Path) -> None:
        path = one(folder, pattern)
        path.write_bytes(work(path.read_bytes()))
        retell(folder)

    return make


def inside(pattern: str, work: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Damage what was compressed, and compress it again: only its content can tell."""

    def make(folder: Path) -> None:
        path = one(folder, pattern)
        program = {".zst": "zstd", ".gz": "gzip"}.get(path.suffix, "cat")
        data = _through([program, *([] if program == "cat" else ["-dcq"])], path.read_bytes())
        path.write_bytes(_through([program, *([] if program == "cat" else ["-cq"])], work(data)))
        retell(folder)

    return make


def _through(argv: list[str], data: bytes) -> bytes:
    return subprocess.run(argv, input=data, capture_output=True, check=True).stdout


def manifest_text(work: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Change the text of the manifest, and tell its checksum."""
    return lambda folder: tell(folder, work((folder / "manifest.json").read_bytes()))


def flipped(place: float) -> Callable[[bytes], bytes]:
    """Alter one byte: 0 is the first one, 1 the last."""

    def work(data: bytes) -> bytes:
        offset = int(place * (len(data) - 1))
        return data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :]

    return work


def cut(data: bytes) -> bytes:
    """Keep two thirds."""
    return data[: len(data) * 2 // 3]


def instead(make: Callable[[Path, Path], object]) -> Callable[[str], Callable[[Path], None]]:
    """Put something else in a file's place, given where its content went."""

    def of(name: str) -> Callable[[Path], None]:
        def work(folder: Path) -> None:
            path = folder / name if (folder / name).exists() else one(folder, name)
            aside = folder.parents[1] / "aside"
            path.rename(aside)
            make(path, aside)

        return work

    return of


symlink = instead(lambda path, aside: path.symlink_to(aside))
pipe = instead(lambda path, _aside: os.mkfifo(path))
directory = instead(lambda path, _aside: path.mkdir())


def other_content(folder: Path) -> None:
    """A hard link to content of the same length."""
    path = one(folder, "media.tar*")
    other = folder.parents[1] / "other"
    other.write_bytes(bytes(path.stat().st_size))
    path.unlink()
    os.link(other, path)


def exchanged(folder: Path) -> None:
    """Two artifacts with each other's name, and manifest and checksums as they were but for the sizes."""
    first, second = one(folder, "certs.tar*"), one(folder, "blueprints.tar*")
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)


def renamed(folder: Path) -> Path:
    """The folder gets another id's name."""
    return folder.rename(folder.parent / OTHER_ID)


def of_another_instance(folder: Path) -> Path:
    """The set lies with those of another instance."""
    changed("instance/name", "elsewhere.example.org")(folder)
    return folder


def extra(name: str) -> Callable[[Path], None]:
    """A file that is not the set's own."""

    def make(folder: Path) -> None:
        (folder / name).write_bytes(b"-- not of this set\n")

    return make


def sums(work: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    """Change the lines of SHA256SUMS."""

    def make(folder: Path) -> None:
        lines = (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
        (folder / "SHA256SUMS").write_text("".join(work(lines)))

    return make


def archive(*members: tuple[str, bytes]) -> Callable[[bytes], bytes]:
    """Make an archive of (name, kind) in an archive's place."""

    def work(_data: bytes) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name, kind in members:
                info = tarfile.TarInfo(name)
                info.type = kind
                info.linkname = "/etc" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
                info.size = 1 if kind == tarfile.REGTYPE else 0
                tar.addfile(info, io.BytesIO(b"x") if info.size else None)
        return out.getvalue()

    return work


def bomb(_data: bytes) -> bytes:
    """Make an archive of next to nothing that unpacks to 64 MiB."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        root = tarfile.TarInfo(".")
        root.type = tarfile.DIRTYPE
        tar.addfile(root)
        info = tarfile.TarInfo("zeros")
        info.size = 64 << 20
        tar.addfile(info, io.BytesIO(bytes(info.size)))
    return out.getvalue()


FILE, FOLDER = tarfile.REGTYPE, tarfile.DIRTYPE
MEDIA, _DUMP, _RDB, _GLOBALS, _CONFIG = "media.tar*", "authentik.dump*", "dump.rdb", "globals.sql*", "config.tar*"
_ROOT = (".", FOLDER)

AT_REST = {
    "no manifest": Kind(text("manifest.json", lambda _data: None), LIST, "no manifest in"),
    "manifest empty": Kind(text("manifest.json", lambda _data: b""), LIST, "manifest.json: .*not valid JSON"),
    "manifest cut": Kind(text("manifest.json", cut), LIST, "manifest.json: .*not valid JSON"),
    "manifest altered": Kind(
        text("manifest.json", lambda data: data.replace(b'"host"', b'"hosT"')), LIST, "manifest.json has SHA-256"
    ),
    "manifest is a folder": Kind(directory("manifest.json"), LIST, "manifest.json is not a regular file"),
    "manifest is a pipe": Kind(pipe("manifest.json"), LIST, "manifest.json is not a regular file"),
    "manifest is a link": Kind(symlink("manifest.json"), LIST, "manifest.json is not a regular file"),
    "no sums": Kind(text("SHA256SUMS", lambda _data: None), LIST, "no SHA256SUMS in"),
    "sums empty": Kind(text("SHA256SUMS", lambda _data: b""), LIST, "SHA256SUMS does not say"),
    "sums with a line too many": Kind(sums(lambda lines: [*lines, lines[-1]]), LIST, "SHA256SUMS does not say"),
    "sums with a line missing": Kind(sums(lambda lines: lines[:-1]), LIST, "SHA256SUMS does not say"),
    "sums in another order": Kind(sums(lambda lines: lines[::-1]), LIST, "SHA256SUMS does not say"),
    "sums of Windows": Kind(
        sums(lambda lines: [line.replace("\n", "\r\n") for line in lines]), LIST, "SHA256SUMS does not say"
    ),
    "sums with another digest": Kind(
        sums(lambda lines: [*lines[:-1], "0" * 64 + lines[-1][64:]]), LIST, "SHA256SUMS does not say"
    ),
    "sums is a pipe": Kind(pipe("SHA256SUMS"), LIST, "SHA256SUMS is not a regular file"),
    "instructions altered": Kind(
        text("RESTORE.md", lambda data: data + b"```bash\nrm -rf /\n```\n"), LIST, "RESTORE.md has SHA-256"
    ),
    "no instructions": Kind(text("RESTORE.md", lambda _data: None), LIST, "no RESTORE.md in"),
    "instructions are a pipe": Kind(pipe("RESTORE.md"), LIST, "RESTORE.md is not a regular file"),
    "artifact missing": Kind(text(MEDIA, lambda _data: None), LIST, "media.tar.* is missing"),
    "artifact empty": Kind(text(_DUMP, lambda _data: b""), LIST, "authentik.dump.* holds 0 bytes"),
    "artifact cut": Kind(text(_DUMP, cut), LIST, "authentik.dump.* holds .* were recorded"),
    "artifact with more at its end": Kind(text(_RDB, lambda data: data + b"\0"), LIST, "dump.rdb holds"),
    "artifact is a link": Kind(symlink(MEDIA), LIST, "media.tar.* holds .* were recorded"),
    "artifact is a folder": Kind(directory(MEDIA), LIST, "media.tar.* is missing"),
    "artifact is a pipe": Kind(pipe(MEDIA), LIST, "media.tar.* holds 0 bytes"),
    "artifact is a link to other content": Kind(other_content, READ, "media.tar.* has SHA-256"),
    "artifacts exchanged": Kind(exchanged, LIST, "blueprints.tar.* holds .* were recorded"),
    "a file too many": Kind(extra("postgresql/authentik.dump.old"), LIST, "authentik.dump.old is not in the manifest"),
    "a note too many": Kind(extra("README"), LIST, "README is not in the manifest"),
    "folder renamed": Kind(renamed, LIST, "manifest.json is that of"),
    **{
        "%s, byte at %d%% altered" % (name, place * 100): Kind(text(name, flipped(place)), READ, said + " has SHA-256")
        for name, said in (
            (_DUMP, "authentik.dump.*"), (_GLOBALS, "globals.sql.*"), (_RDB, "dump.rdb"),
            (MEDIA, "media.tar.*"), (_CONFIG, "config.tar.*"),
        )
        for place in (0, 0.5, 1)
    },
}  # fmt: skip

INVALID = "manifest.json: The manifest is not valid: "
_FIRST = "artifacts/0/"
TOLD = {
    "nothing but a number": Kind(manifest_text(lambda _data: b"1"), LIST, INVALID + "it is not an object"),
    "not text": Kind(manifest_text(lambda data: data.replace(b"host", b"\xff\xfe")), LIST, "manifest.json: .*JSON"),
    "nested without end": Kind(manifest_text(lambda _data: b"[" * 200000), LIST, "manifest.json: .*JSON"),
    "NaN": Kind(manifest_text(lambda data: data.replace(b'"format": 1', b'"format": NaN')), LIST, "JSON: it holds NaN"),
    "infinite seconds": Kind(
        manifest_text(lambda data: re.sub(rb'(?m)^ "seconds": .*', b' "seconds": 1e999,', data)),
        LIST,
        "no finite number",
    ),
    "a size of thousands of digits": Kind(
        manifest_text(lambda data: data.replace(b'"format": 1', b'"format": ' + b"9" * 9999)), LIST, "JSON"
    ),
    "a newer format": Kind(changed("format", 2), LIST, "manifest.json: .*format 2; this version .* up to 1"),
    "no format": Kind(changed("format", ...), LIST, INVALID + "its format is None"),
    "another id": Kind(changed("id", OTHER_ID), LIST, "manifest.json is that of .*" + OTHER_ID),
    "an id that is a path": Kind(changed("id", "../../etc"), LIST, INVALID + ".*not the id"),
    "another instance": Kind(of_another_instance, LIST, "manifest.json is that of elsewhere.example.org"),
    "a time that is none": Kind(changed("started", "yesterday"), LIST, INVALID + ".*yesterday"),
    "no components": Kind(changed("components", []), LIST, INVALID + "components is list"),
    "an artifact twice": Kind(
        lambda folder: retell(folder, lambda one: one["artifacts"].append(one["artifacts"][0])), LIST, "listed twice"
    ),
    "an absolute path": Kind(changed(_FIRST + "path", "/etc/passwd"), LIST, INVALID + ".*'/etc/passwd' cannot be"),
    "a path that climbs out": Kind(changed(_FIRST + "path", "a/../../b"), LIST, INVALID + ".*cannot be the path"),
    "a hidden path": Kind(changed(_FIRST + "path", "config/.x"), LIST, INVALID + ".*cannot be the path"),
    "a path of two lines": Kind(changed(_FIRST + "path", "config/a\nb"), LIST, INVALID + ".*cannot be the path"),
    "a path that no file has": Kind(changed(_FIRST + "path", "config/\ud800"), LIST, INVALID + ".*cannot be the path"),
    "a negative size": Kind(changed(_FIRST + "size", -1), LIST, INVALID + ".*size is negative"),
    "a size that is text": Kind(changed(_FIRST + "size", "917"), LIST, INVALID + ".*size is str"),
    "a size that is true": Kind(changed(_FIRST + "size", True), LIST, INVALID + ".*size is bool"),
    "a huge size": Kind(changed(_FIRST + "size", 10**30), LIST, "config.tar.* holds .* were recorded"),
    "a digest that is cut": Kind(changed(_FIRST + "sha256", "0" * 63), LIST, INVALID + ".*not a SHA-256"),
    "a compression of nobody": Kind(changed(_FIRST + "compression", "rot13"), LIST, INVALID + ".*rot13"),
    "a component of nobody": Kind(changed(_FIRST + "component", "mail"), LIST, INVALID + ".*not listed"),
    "encrypted in part": Kind(changed(_FIRST + "encryption", "age"), LIST, INVALID + ".*recipients"),
    "instructions elsewhere": Kind(
        changed("instructions/path", "/etc/motd"), LIST, INVALID + "instructions are no record of RESTORE.md"
    ),
}

SAVED = {
    "dump cut": Kind(saved(_DUMP, cut), DECODE, "authentik.dump"),
    "dump with a block altered": Kind(saved(_DUMP, flipped(0.6)), DECODE, "authentik.dump"),
    "dump cut before it was compressed": Kind(inside(_DUMP, cut), DECODE, "authentik.dump"),
    "dump that is none": Kind(inside(_DUMP, lambda data: b"-- SQL\n" * 99), DECODE, "authentik.dump"),
    "dump with garbage after it": Kind(saved(_DUMP, lambda data: data + b"garbage"), DECODE, "authentik.dump"),
    "globals cut": Kind(inside(_GLOBALS, cut), DECODE, "globals.sql"),
    "globals with garbage after it": Kind(saved(_GLOBALS, lambda data: data + b"garbage"), DECODE, "globals.sql"),
    "RDB cut": Kind(saved(_RDB, cut), DECODE, "dump.rdb"),
    "RDB with another CRC": Kind(saved(_RDB, flipped(1)), DECODE, "dump.rdb"),
    "RDB altered": Kind(saved(_RDB, flipped(0.5)), DECODE, "dump.rdb"),
    "RDB with garbage after it": Kind(saved(_RDB, lambda data: data + b"garbage"), DECODE, "dump.rdb"),
    "archive cut": Kind(saved(MEDIA, cut), DECODE, "media.tar"),
    "archive cut before it was compressed": Kind(inside(MEDIA, cut), DECODE, "media.tar"),
    "archive with garbage after it": Kind(saved(MEDIA, lambda data: data + b"garbage"), DECODE, "media.tar"),
    "archive with nothing in it": Kind(inside(MEDIA, archive()), DECODE, "media.tar"),
    "archive of other files": Kind(inside(MEDIA, archive(_ROOT, ("x", FILE))), DECODE, "media.tar"),
    "archive with '..'": Kind(inside(MEDIA, archive(_ROOT, ("../x", FILE))), DECODE, "media.tar"),
    "archive with an absolute name": Kind(inside(MEDIA, archive(_ROOT, ("/etc/cron.d/x", FILE))), DECODE, "media.tar"),
    "archive with a device": Kind(inside(MEDIA, archive(_ROOT, ("null", tarfile.CHRTYPE))), DECODE, "media.tar"),
    "archive with a name twice": Kind(inside(MEDIA, archive(_ROOT, ("x", FILE), ("x", FILE))), DECODE, "media.tar"),
    "archive that writes through a link": Kind(
        inside(MEDIA, archive(_ROOT, ("x", tarfile.SYMTYPE), ("x/passwd", FILE))), DECODE, "media.tar"
    ),
    "archive with a link out of it": Kind(
        inside(MEDIA, archive(_ROOT, ("x", tarfile.LNKTYPE))), DECODE, "media.tar"
    ),
    "archive that is a bomb": Kind(inside(MEDIA, bomb), DECODE, "media.tar.*bytes: expected"),
    "archive of configuration without its key": Kind(inside(_CONFIG, archive(_ROOT)), DECODE, "config"),
}  # fmt: skip


def copy_of(made: Path, target: Path) -> Path:
    """Copy a good set so that it can be damaged."""
    shutil.copytree(made, target)
    for path in (target, *target.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return target
