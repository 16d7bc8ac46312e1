# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Directories saved while the world goes on: files that change, shrink, vanish, and trees that did not change."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _static, _tree
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError, StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import DirectorySink
from tests.integration.file_trees import make_odd_tree, snapshot
from tests.support.announce import leave_out

BIG = _tree.BUFFER + 3 * 1024 * 1024


def target(path: Path, component: str = "media", required: bool = True) -> _static.Target:
    return _static.Target(component, str(path), "test", required)


def save(path: Path, dest: Path, **options: Any) -> dict[str, Any]:
    return _static.save(target(path), DirectorySink(str(dest)), "gzip", **options)


def unpack(archive: Path, into: Path) -> Path:
    into.mkdir()
    command = ["tar", "-xpf", str(archive), "-C", str(into), "--numeric-owner", "--xattrs", "--xattrs-include=*"]
    done = subprocess.run([*command, "--delay-directory-restore"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return into


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
def test_an_artifact_holds_the_tree(tmp_path: Path, compression: str) -> None:
    if compression == "zstd" and shutil.which("zstd") is None:
        leave_out("zstd is not installed (apt install zstd)")
    tree = make_odd_tree(tmp_path / "tree", for_gnu_tar=True)
    record = _static.save(target(tree), DirectorySink(str(tmp_path / "dest")), compression)
    artifact = record["artifacts"][0]
    assert artifact["path"] == {"zstd": "static/media.tar.zst", "gzip": "static/media.tar.gz"}[compression]
    archive = tmp_path / "dest" / artifact["path"]
    assert artifact["size"] == archive.stat().st_size
    assert artifact["compression"] == compression
    found = snapshot(tree)
    assert record["fingerprint"]["files"] == sum(facts["content"] is not None for facts in found.values())
    assert record["outside_links"] == {"outside": "/etc/passwd", "up": "../x"}
    assert record["state"] == "saved"
    assert any("setuid" in warning for warning in record["warnings"])
    assert snapshot(unpack(archive, tmp_path / "by-hand")) == found


def test_an_unchanged_tree_is_not_sent_again_and_a_changed_one_is(tmp_path: Path) -> None:
    tree = make_odd_tree(tmp_path / "tree")
    first = save(tree, tmp_path / "1")
    previous = {"digest": first["fingerprint"]["digest"], "set": "20261122T031500Z-7f3a"}
    second = save(tree, tmp_path / "2", previous=previous)
    assert (second["state"], second["linked"], second["unchanged"]) == ("linked", "20261122T031500Z-7f3a", True)
    assert second["artifacts"] == []
    assert second["fingerprint"] == first["fingerprint"]
    assert second["outside_links"] == first["outside_links"]
    assert not (tmp_path / "2" / "static").exists()
    os.chmod(tree / "no-mode", 0o400)
    third = save(tree, tmp_path / "3", previous=previous)
    assert (third["state"], len(third["artifacts"])) == ("saved", 1)


def test_looking_reads_no_content_and_counts(tmp_path: Path) -> None:
    tree = make_odd_tree(tmp_path / "tree")
    saved, found = save(tree, tmp_path / "1"), _static.save(target(tree), None, "gzip")
    counts = ("files", "directories", "links", "bytes")
    assert [found["fingerprint"][key] for key in counts] == [saved["fingerprint"][key] for key in counts]
    assert found["state"] == "found"
    assert "digest" not in found["fingerprint"]


def test_missing_empty_and_wrong(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(StateError, match=r"media: .*gone does not exist.*missing: warn"):
        save(gone, tmp_path / "d")
    record = _static.save(target(gone, "certs", required=False), DirectorySink(str(tmp_path / "d")), "gzip")
    assert (record["state"], record["artifacts"]) == ("missing", [])
    assert "gone does not exist; it is not in this backup" in record["warnings"][0]
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(StateError, match="symbolic link to nowhere, which does not exist"):
        save(tmp_path / "dangling", tmp_path / "d")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="file is not a directory"):
        save(tmp_path / "file", tmp_path / "d")
    (tmp_path / "empty").mkdir()
    record = save(tmp_path / "empty", tmp_path / "d")
    assert record["warnings"] == ["media: %s holds no files" % (tmp_path / "empty")]
    assert len(record["artifacts"]) == 1


def test_a_linked_directory_is_saved_from_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x").write_text("x")
    (tmp_path / "link").symlink_to("real")
    record = save(tmp_path / "link", tmp_path / "d")
    assert record["real_path"] == str(tmp_path / "real")
    assert record["fingerprint"]["files"] == 1


class Meddler(DirectorySink):
    """Calls back when the first bytes of an artifact arrive, which is while the tree is being read."""

    def __init__(self, dest: Path, meddle: Callable[[int], None]) -> None:
        super().__init__(str(dest))
        self.tries = 0
        self._meddle = meddle

    @contextmanager
    def artifact(self, path: str) -> Iterator[Any]:
        with super().artifact(path) as out:
            self.tries += 1
            pending = [self.tries]
            write = out.write

            def watched(data: bytes) -> int:
                if out.size > 1024 * 1024 and pending:
                    self._meddle(pending.pop())
                return write(data)

            out.write = watched  # type: ignore[method-assign,assignment]
            yield out


@pytest.fixture
def big(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "big").write_bytes(os.urandom(BIG))
    time.sleep(0.03)
    return tree


def shrink(path: Path) -> None:
    os.truncate(path, BIG // 2)


def grow(path: Path) -> None:
    with path.open("ab") as out:
        out.write(b"more")


def alter(path: Path) -> None:
    with path.open("r+b") as out:
        out.seek(BIG - 10)
        out.write(b"altered")


@pytest.mark.parametrize("change", [shrink, grow, alter])
def test_a_big_file_that_changes_makes_the_artifact_begin_again(
    big: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    sink = Meddler(tmp_path / "d", lambda number: change(big / "big") if number == 1 else None)
    record = _static.save(target(big), sink, "gzip")
    assert sink.tries == 2
    assert record["warnings"] == ["%s/big changed while it was read; the whole directory was read again" % big]
    assert snapshot(unpack(tmp_path / "d" / record["artifacts"][0]["path"], tmp_path / "x")) == snapshot(big)


def test_a_big_file_that_never_rests_is_an_error_and_leaves_no_artifact(big: Path, tmp_path: Path) -> None:
    sink = Meddler(tmp_path / "d", lambda _number: grow(big / "big"))
    with pytest.raises(StateError, match="tree/big changed while it was read, 3 times in a row"):
        _static.save(target(big), sink, "gzip")
    assert sink.tries == 3
    assert [path for path in (tmp_path / "d").rglob("*") if path.is_file()] == []


def test_a_small_file_is_never_saved_half_written(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    path = tree / "value"
    size = 4 * 1024 * 1024
    path.write_bytes(b"\0" * size)
    stop = threading.Event()

    def rewrite() -> None:
        number = 0
        with path.open("r+b", buffering=0) as out:
            while not stop.wait(0.04):
                number += 1
                os.pwrite(out.fileno(), bytes([number % 256]) * size, 0)

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        archives = []
        for number in range(8):
            try:
                record = save(tree, tmp_path / ("d%d" % number))
            except StateError as exc:
                assert "changed while it was read, 3 times in a row" in str(exc)  # noqa: PT017
                continue
            archives.append(tmp_path / ("d%d" % number) / record["artifacts"][0]["path"])
    finally:
        stop.set()
        writer.join()
    for number, archive in enumerate(archives):
        content = (unpack(archive, tmp_path / ("x%d" % number)) / "value").read_bytes()
        assert len(content) == size
        assert len(set(content)) == 1


def test_a_small_file_that_never_rests_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    path = tree / "log"
    path.write_bytes(b"line\n")
    read = os.read

    def read_while_another_writes(fd: int, size: int) -> bytes:
        data = read(fd, size)
        with path.open("ab") as out:
            out.write(b"line\n")
        return data

    monkeypatch.setattr(os, "read", read_while_another_writes)
    with pytest.raises(StateError, match="tree/log changed while it was read, 3 times in a row"):
        save(tree, tmp_path / "d")


def test_a_file_that_goes_away_is_said_and_one_that_is_renamed_is_found(big: Path, tmp_path: Path) -> None:
    for name in ("zgone", "zold", "zlast"):
        (big / name).write_text(name)
    (big / "folder").mkdir()

    def meddle(number: int) -> None:
        if number == 1:
            (big / "zgone").unlink()
            (big / "zold").rename(big / "anew")
            (big / "folder").rmdir()

    sink = Meddler(tmp_path / "d", meddle)
    record = _static.save(target(big), sink, "gzip")
    assert sink.tries == 1
    gone = {warning.split(" went away")[0] for warning in record["warnings"]}
    assert gone == {"%s/%s" % (big, name) for name in ("zgone", "zold", "folder")}
    names = {path.name for path in unpack(tmp_path / "d" / record["artifacts"][0]["path"], tmp_path / "x").iterdir()}
    assert names == {"big", "anew", "zlast"}


def test_a_folder_exchanged_for_a_link_is_not_followed(big: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "shadow").write_text("root:x")
    (big / "folder").mkdir()
    (big / "folder" / "inner").write_text("inner")

    def meddle(number: int) -> None:
        shutil.rmtree(big / "folder")
        (big / "folder").symlink_to(secret)

    record = _static.save(target(big), Meddler(tmp_path / "d", meddle), "gzip")
    unpacked = unpack(tmp_path / "d" / record["artifacts"][0]["path"], tmp_path / "x")
    assert (unpacked / "folder").is_symlink()
    assert record["outside_links"] == {"folder": str(secret)}


def test_unreadable_says_become(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "closed").mkdir(mode=0)
    if os.geteuid() == 0:
        pid = os.fork()
        if pid == 0:
            os.setgid(65534)
            os.setuid(65534)
            try:
                _static.digest_tree(str(tree))
            except StateError as exc:
                os._exit(7 if "become: true" in str(exc) else 8)
            os._exit(9)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    else:
        with pytest.raises(StateError, match="become: true"):
            _static.digest_tree(str(tree))
