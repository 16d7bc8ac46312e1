# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A tree with everything odd in it comes back equal: by our own extraction and by GNU tar."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _tar, _tar_codec, _tar_extract, _tree
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    IntegrityError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._tree_digest import TreeDigest, differences
from tests.integration.file_trees import make_odd_tree, snapshot
from tests.support.announce import leave_out


def write(root: Path, out: io.BytesIO, comment: str = "") -> tuple[_tree.Findings, dict[str, object]]:
    findings, digest = _tree.Findings(str(root)), TreeDigest()
    writer = _tar.TarWriter(out, digest, comment)
    fd = _tree.open_root(str(root))
    try:
        for node in _tree.walk(fd, findings):
            writer.add(node)
    finally:
        os.close(fd)
    writer.finish()
    return findings, digest.fingerprint()


def extract(archive: bytes, target: Path, outside_links: dict[str, str]) -> None:
    fd = _tar_extract.make_folder(str(target))
    extraction = _tar_extract.Extraction(fd, str(target))
    try:
        extraction.extract(_tar.TarReader(io.BytesIO(archive), outside_links))
        extraction.finish()
    finally:
        extraction.close()
        os.close(fd)


def digest_of(root: Path) -> dict[str, object]:
    return write(root, io.BytesIO())[1]


def test_own_extraction_gives_back_everything(tmp_path: Path) -> None:
    source = make_odd_tree(tmp_path / "source")
    out = io.BytesIO()
    findings, fingerprint = write(source, out)
    extract(out.getvalue(), tmp_path / "target", findings.outside_links)
    assert snapshot(tmp_path / "target") == snapshot(source)
    assert differences(fingerprint, digest_of(tmp_path / "target")) == []


def test_reading_an_archive_gives_the_digest_of_the_tree(tmp_path: Path) -> None:
    source = make_odd_tree(tmp_path / "source")
    out = io.BytesIO()
    findings, fingerprint = write(source, out)
    digest = TreeDigest()
    list(_tar_extract.watch_members(_tar.TarReader(io.BytesIO(out.getvalue()), findings.outside_links), digest))
    assert digest.fingerprint() == fingerprint


def test_gnu_tar_extracts_names_modes_times_links_and_attributes(tmp_path: Path) -> None:
    if shutil.which("tar") is None:
        leave_out("GNU tar is not installed")
    source = make_odd_tree(tmp_path / "source", for_gnu_tar=True)
    archive = tmp_path / "a.tar"
    out = io.BytesIO()
    write(source, out, comment="00ff")
    archive.write_bytes(out.getvalue())
    target = tmp_path / "target"
    target.mkdir()
    command = ["tar", "-xpf", str(archive), "-C", str(target), "--numeric-owner", "--xattrs", "--xattrs-include=*"]
    done = subprocess.run([*command, "--delay-directory-restore"], capture_output=True, text=True, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "time stamp" not in line]) == (0, [])
    assert snapshot(target) == snapshot(source)


def test_python_and_gnu_archives_of_the_same_tree_are_read_alike(tmp_path: Path) -> None:
    """An archive that somebody made by hand with GNU tar restores, too."""
    source = make_odd_tree(tmp_path / "source")
    archive = tmp_path / "gnu.tar"
    command = ["tar", "--format=posix", "--sort=name", "--numeric-owner", "--xattrs", "--xattrs-include=*"]
    subprocess.run([*command, "-cf", str(archive), "-C", str(source), "."], check=True)
    digest = TreeDigest()
    findings, fingerprint = write(source, io.BytesIO())
    with archive.open("rb") as stream:
        list(_tar_extract.watch_members(_tar.TarReader(stream, findings.outside_links), digest))
    assert digest.fingerprint() == fingerprint


def test_sockets_and_fifos_are_said_and_left_out(tmp_path: Path) -> None:
    root = tmp_path / "t"
    root.mkdir()
    os.mkfifo(root / "pipe")
    server = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(root)
    try:
        server.bind("sock")
    finally:
        os.chdir(here)
    (root / "file").write_bytes(b"x")
    findings, fingerprint = write(root, io.BytesIO())
    server.close()
    assert fingerprint["files"] == 1
    assert sorted(findings.warnings) == [
        "%s/pipe is a FIFO; it is not in this backup" % root,
        "%s/sock is a socket; it is not in this backup" % root,
    ]


def test_a_device_node_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "t"
    root.mkdir()
    try:
        os.mknod(root / "null", 0o20600, os.makedev(1, 3))
    except PermissionError:
        leave_out("making a device node needs root")
    with pytest.raises(InputError, match="t/null is a device node"):
        write(root, io.BytesIO())


def unpack(packed: bytes, compression: str) -> bytes:
    with _tar_codec.decompressor(io.BytesIO(packed), compression, "a") as plain:
        return b"".join(iter(lambda: plain.read(65536), b""))


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_compressed_and_back(tmp_path: Path, compression: str) -> None:
    if compression == "zstd" and shutil.which("zstd") is None:
        leave_out("zstd is not installed (apt install zstd)")
    payload = os.urandom(3_000_000) + bytes(3_000_000)
    packed = io.BytesIO()
    with _tar_codec.compressor(packed, compression) as out:
        for start in range(0, len(payload), 100_000):
            out.write(payload[start : start + 100_000])
    program = {"zstd": ["zstd", "-dcq"], "gzip": ["gzip", "-dc"]}[compression]
    assert subprocess.run(program, input=packed.getvalue(), capture_output=True, check=True).stdout == payload
    assert unpack(packed.getvalue(), compression) == payload


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_damaged_bytes_do_not_decompress(tmp_path: Path, compression: str, damage: str) -> None:
    if compression == "zstd" and shutil.which("zstd") is None:
        leave_out("zstd is not installed (apt install zstd)")
    packed = io.BytesIO()
    with _tar_codec.compressor(packed, compression) as out:
        out.write(os.urandom(400_000))
    data = bytearray(packed.getvalue())
    if damage == "truncated":
        del data[-1000:]
    else:
        data[200_000] ^= 1
    with pytest.raises(IntegrityError):
        unpack(bytes(data), compression)


def test_a_sink_that_fails_stops_the_compression(tmp_path: Path) -> None:
    if shutil.which("zstd") is None:
        leave_out("zstd is not installed (apt install zstd)")

    class Full:
        def write(self, data: bytes) -> int:
            raise StateError("the sink is full")

    def pack() -> None:
        with _tar_codec.compressor(Full(), "zstd") as out:
            for _time in range(200):
                out.write(os.urandom(100_000))

    with pytest.raises(StateError, match="the sink is full"):
        pack()
