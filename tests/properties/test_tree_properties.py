# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Generated file trees: names of any bytes, odd times and modes, links of every kind, holes, attributes."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.integration.file_trees import keeps_attributes, snapshot
from tests.properties.profiles import examples
from tests.support import in_process
from tests.support.redis_module import RESTORE_ID

#: What ext4 and xfs keep: 1901 to 2446.
TIMES = st.integers(-(2**31) * 10**9, (2**33) * 10**9 + 999_999_999)


class Made(NamedTuple):
    """One name to make.

    :param folder: number of the folder it lies in: of those made before it, counted round.
    :param content: of a file; target of a symbolic link.
    :param hole: bytes of nothing before a file's content.
    """

    folder: int
    name: bytes
    kind: str
    content: bytes
    hole: int
    mode: int
    mtime_ns: int
    attributes: dict[bytes, bytes]


def _names() -> st.SearchStrategy[bytes]:
    byte = st.integers(1, 255).filter(lambda value: value != ord("/"))
    plain = st.lists(byte, min_size=1, max_size=24).map(bytes)
    lengthened = st.builds(lambda part, size: (part * 256)[:size], plain, st.sampled_from([99, 100, 101, 155, 255]))
    return st.one_of(plain, lengthened).filter(lambda name: name not in (b".", b".."))


def _targets() -> st.SearchStrategy[bytes]:
    parts = st.lists(st.one_of(_names(), st.sampled_from([b"..", b"."])), min_size=1, max_size=4)
    return st.builds(lambda some, lead: lead + b"/".join(some)[:1000], parts, st.sampled_from([b"", b"/"]))


@st.composite
def made(draw: st.DrawFn) -> Made:
    kind = draw(st.sampled_from(["f", "f", "f", "d", "d", "l", "hard"]))
    content = draw(_targets()) if kind == "l" else draw(st.binary(max_size=700))
    return Made(
        folder=draw(st.integers(0, 5)),
        name=draw(_names()),
        kind=kind,
        content=content,
        hole=draw(st.sampled_from([0, 0, 511, 4096, 3_000_000])),
        mode=draw(st.integers(0, 0o7777)),
        mtime_ns=draw(TIMES),
        attributes=draw(
            st.dictionaries(
                st.text("abc=%é", min_size=1, max_size=8).map(_attribute), st.binary(max_size=60), max_size=2
            )
        ),
    )


def _attribute(text: str) -> bytes:
    return b"user." + text.encode()


def build(root: Path, tree: list[Made]) -> None:
    """Make the names; modes and times last, since making what lies in a folder changes them."""
    root.mkdir()
    folders: list[bytes] = [os.fsencode(root)]
    files: list[bytes] = []
    done: list[tuple[bytes, Made]] = []
    attributes = keeps_attributes(root)
    for item in tree:
        path = os.path.join(folders[item.folder % len(folders)], item.name)
        if os.path.lexists(path) or len(path) > 3000:
            continue
        if item.kind == "d":
            os.mkdir(path)
            folders.append(path)
        elif item.kind == "l":
            os.symlink(item.content, path)
        elif item.kind == "hard" and files:
            os.link(files[item.folder % len(files)], path)
            continue
        else:
            with open(path, "wb") as stream:
                stream.seek(item.hole)
                stream.write(item.content)
                stream.truncate(item.hole + len(item.content))
            files.append(path)
        done.append((path, item))
    for path, item in reversed(done):
        if item.kind != "l":
            for name, value in item.attributes.items() if attributes else ():
                os.setxattr(path, name, value)
            # Without root, one may shut one's own files to oneself: a backup refuses those, which is tested elsewhere.
            own = 0 if os.geteuid() == 0 else 0o700 if item.kind == "d" else 0o400
            os.chmod(path, item.mode | own)
        os.utime(path, ns=(0, item.mtime_ns), follow_symlinks=False)
    os.utime(root, ns=(0, 1_600_000_000_123_456_789))


def found(root: Path) -> list[bytes]:
    """Return what GNU find says of every name; files of one inode carry the number of the first of them."""
    wanted = ["%P", "%y", "%m", "%U:%G", "%T@", "%n", "%l", "%i", "%s"]
    argv = [b"find", os.fsencode(root), b"-printf", "".join(field + "\\000" for field in wanted).encode()]
    out = subprocess.run(argv, capture_output=True, check=True).stdout.split(b"\0")[:-1]
    rows = sorted(out[start : start + len(wanted)] for start in range(0, len(out), len(wanted)))
    first: dict[bytes, int] = {}
    lines = []
    for row in rows:
        number = first.setdefault(row[7], len(first))
        size = b"" if row[1] == b"d" else row[8]
        lines.append(b"\0".join([*row[:7], b"%d" % number, size]))
    return lines


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="trees-"))
    yield path
    shutil.rmtree(path)


LONG = b"n" * 255
#: What hypothesis seldom comes upon: a path beyond every limit of tar, and names that only differ in their bytes.
AWKWARD = [Made(0, LONG, "d", b"", 0, 0o700, 1, {})] + [
    *(Made(number, LONG[:-1] + b"%d" % number, "d", b"", 0, 0o711, -number, {}) for number in range(1, 6)),
    Made(5, b"caf\xc3\xa9", "f", b"utf-8", 0, 0o640, 1, {}),
    Made(5, b"cafe\xcc\x81", "f", b"combining", 0, 0o640, 2, {}),
    Made(5, b"caf\xe9", "f", b"latin-1", 0, 0o640, 3, {b"user.a=b%3D": b"\x00\n12 path=x\n"}),
]


@examples(25)
@given(tree=st.lists(made(), max_size=9), compression=st.sampled_from(["auto", "gzip"]))
@example(tree=[], compression="gzip")
@example(tree=AWKWARD, compression="gzip")
def test_a_tree_comes_back(folder: Path, tree: list[Made], compression: str) -> None:
    base = Path(tempfile.mkdtemp(dir=folder))
    live, store, copy = base / "media", base / "set", base / ("media.new-" + RESTORE_ID)
    try:
        build(live, tree)
        options = {**in_process.NO_INSTANCE, "directories": {"media": str(live)}, "components": ["media"]}
        saved, instance = in_process.run("static_dirs", {**options, "dest": str(store), "compression": compression})
        in_process.write_manifest(store, saved["components"])
        before = found(live), snapshot(live)
        for step in ("check", "prepare"):
            in_process.run(
                "static_restore", {**options, "src": str(store), "restore_id": RESTORE_ID, "step": step}, instance
            )
        assert (found(copy), snapshot(copy)) == before
        assert (found(live), snapshot(live)) == before
    finally:
        shutil.rmtree(base)
