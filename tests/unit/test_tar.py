# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archives made to do harm, and archives that are broken, are refused before anything is written."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _tar, _tar_codec, _tar_extract
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError, ToolError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._tree_digest import Entry

DIR, LINK, HARD = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def archive(*members: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member in [{"name": ".", "type": DIR}, *members]:
            info = tarfile.TarInfo()
            # Without root only files of one's own can be unpacked.
            info.uid, info.gid = os.geteuid(), os.getegid()
            data = member.get("data", b"")
            info.size = len(data)
            for key in member.keys() - {"data"}:
                setattr(info, key, member[key])
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


EVIL: dict[str, tuple[list[dict[str, Any]], str]] = {
    "dot-dot": ([{"name": "../up"}], "'..' in its path"),
    "dot-dot inside": ([{"name": "a", "type": DIR}, {"name": "a/../../up"}], "'..' in its path"),
    "absolute": ([{"name": "/etc/cron.d/x"}], "absolute path"),
    "absolute by pax": ([{"name": "x", "pax_headers": {"path": "/etc/cron.d/x"}}], "absolute path"),
    "through a symlink": (
        [{"name": "l", "type": LINK, "linkname": "d"}, {"name": "l/x"}],
        "behind the symbolic link l",
    ),
    "symlink outside": ([{"name": "l", "type": LINK, "linkname": "/etc"}], "leads outside, to /etc"),
    "symlink up": ([{"name": "l", "type": LINK, "linkname": "../x"}], "leads outside"),
    "symlink by detour": (
        [{"name": "d", "type": DIR}, {"name": "l", "type": LINK, "linkname": "d/../x"}],
        "leads outside",
    ),
    "symlink to nothing": ([{"name": "l", "type": LINK, "linkname": ""}], "symbolic link to nothing"),
    "character device": ([{"name": "c", "type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}], "c is a device node"),
    "block device": ([{"name": "b", "type": tarfile.BLKTYPE}], "b is a device node"),
    "fifo": ([{"name": "p", "type": tarfile.FIFOTYPE}], "is a FIFO"),
    "hard link outside": ([{"name": "h", "type": HARD, "linkname": "/etc/shadow"}], "hard link to /etc/shadow"),
    "hard link up": ([{"name": "h", "type": HARD, "linkname": "../x"}], "hard link to ../x"),
    "hard link to a symlink": (
        [{"name": "l", "type": LINK, "linkname": "x"}, {"name": "h", "type": HARD, "linkname": "l"}],
        "hard link to l",
    ),
    "hard link to a directory": ([{"name": "h", "type": HARD, "linkname": "."}], "hard link to ."),
    "twice": ([{"name": "x", "data": b"1"}, {"name": "x", "data": b"2"}], "is there twice"),
    "symlink then file of that name": ([{"name": "x", "type": LINK, "linkname": "y"}, {"name": "x"}], "is there twice"),
    "below a file": ([{"name": "x"}, {"name": "x/y"}], "lies in x"),
    "parent missing": ([{"name": "a/b"}], "lies in a, which is no earlier directory"),
    "dot part": ([{"name": "a", "type": DIR}, {"name": "a/./b"}], "'.' or NUL part"),
    "empty part": ([{"name": "a", "type": DIR}, {"name": "a//b"}], "'.' or NUL part"),
    "nul": ([{"name": "x", "pax_headers": {"path": "x\0y"}}], "'.' or NUL part"),
    "unknown kind": ([{"name": "x", "type": b"Z"}], "unknown kind b'Z'"),
    "sparse": ([{"name": "x", "pax_headers": {"GNU.sparse.map": "0,1", "GNU.sparse.size": "1"}}], "stored sparse"),
    "bad time": ([{"name": "x", "pax_headers": {"mtime": "1e9"}}], "modification time"),
}


def read(data: bytes) -> None:
    for member in _tar.TarReader(io.BytesIO(data), {}).members():
        b"".join(member.chunks())


@pytest.mark.parametrize("name", sorted(EVIL))
def test_evil_archives_are_refused(name: str, tmp_path: Path) -> None:
    members, message = EVIL[name]
    data = archive(*members)
    with pytest.raises(IntegrityError, match=message):
        read(data)
    fd = _tar_extract.make_folder(str(tmp_path / "t"))
    extraction = _tar_extract.Extraction(fd, str(tmp_path / "t"))
    with pytest.raises(IntegrityError, match=message):
        extraction.extract(_tar.TarReader(io.BytesIO(data), {}))
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


def test_only_the_recorded_outside_link_is_accepted() -> None:
    data = archive({"name": "l", "type": LINK, "linkname": "/mnt/nas"})
    assert [m.entry.target for m in _tar.TarReader(io.BytesIO(data), {"l": "/mnt/nas"}).members()] == [b"", b"/mnt/nas"]
    with pytest.raises(IntegrityError, match="did not record it"):
        list(_tar.TarReader(io.BytesIO(data), {"l": "/mnt/other"}).members())


@pytest.mark.parametrize("cut", [1, 100, 511, 512, 700, 1024, 1500])
def test_an_archive_cut_inside_a_member_is_refused(cut: int) -> None:
    data = archive({"name": "x", "data": bytes(1000)})[: 512 + 512 + cut]
    with pytest.raises(IntegrityError, match="cannot be read to its end"):
        read(data)


def test_rubbish_between_members_is_not_taken_for_the_end() -> None:
    data = bytearray(archive({"name": "x", "data": b"1"}, {"name": "y", "data": b"2"}))
    data[1536:2048] = b"rubbish!" * 64
    with pytest.raises(IntegrityError, match="no proper end at byte 1536"):
        list(_tar.TarReader(io.BytesIO(bytes(data)), {}).members())


def test_what_is_no_archive_is_refused() -> None:
    with pytest.raises(IntegrityError, match="cannot be read"):
        list(_tar.TarReader(io.BytesIO(b"hello" * 1000), {}).members())


HEADERS = [
    Entry(b"a", "f", 0o644, 0, 0, 0, 0, b"", ()),
    Entry(b"x" * 100, "f", 0o7777, 2**21 - 1, 2**31, 10**18 + 1, 0, b"", ()),
    Entry(b"d" * 99, "d", 0o755, 1, 2, -1, 0, b"", ()),
    Entry(b"d" * 120, "d", 0o755, 1, 2, -(10**9), 0, b"", ()),
    Entry("ü".encode() * 60, "l", 0o777, 1, 2, 2**34 * 10**9, 0, "→".encode() * 90, ()),
    Entry(b"\xff\xfe", "f", 0o600, 4_000_000_000, 5, 1, 0, b"", ((b"user.a=%", b"\0\n\xff"), (b"user.b", b"x" * 3000))),
    Entry(b"nl\n", "f", 0o600, 1, 1, 999_999_999, 0, b"", ((b"user.\xff", b""),)),
]


@pytest.mark.parametrize("entry", HEADERS, ids=lambda entry: repr(entry.path[:8]))
def test_headers_come_back_exactly(entry: Entry) -> None:
    data = _tar.member_header(HEADERS[0]._replace(path=b".", kind="d")) + _tar.member_header(entry) + bytes(1024)
    assert list(_tar.TarReader(io.BytesIO(data), {}).members())[1].entry == entry


def test_sizes_beyond_the_octal_field_fit() -> None:
    entry = HEADERS[0]._replace(size=9 * 1024**3)
    header = _tar.member_header(entry)
    assert tarfile.TarInfo.frombuf(header[:512], "utf-8", "strict").type == tarfile.XHDTYPE
    assert b" size=9663676416\n" in header


@pytest.mark.parametrize(
    ("wanted", "program", "chosen"),
    [
        ("auto", "/bin/zstd", "zstd"),
        ("auto", None, "gzip"),
        ("zstd", "/bin/zstd", "zstd"),
        ("gzip", "/bin/zstd", "gzip"),
        ("gzip", None, "gzip"),
    ],
)
def test_compression(wanted: str, program: str | None, chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tar_codec, "find_program", lambda name: program)
    assert _tar_codec.choose(wanted) == chosen


def test_zstd_that_was_asked_for_and_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tar_codec, "find_program", lambda name: None)
    with pytest.raises(ToolError, match=r"zstd is not installed.*package zstd"):
        _tar_codec.choose("zstd")
    # Else a whole archive would be called damaged.
    with pytest.raises(ToolError, match="zstd is not installed"), _tar_codec.decompressor(io.BytesIO(), "zstd", "a"):
        pass
