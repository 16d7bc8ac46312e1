# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Both ends of the spool, with a thread as the module and a plain folder as the host."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import (
    _spool_sink,
    _spool_source,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    IntegrityError,
    RecoveryError,
    SpaceError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import DirectorySink, DirectorySource
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._encrypted import StoreSink
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._progress import Progress
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._remote_spool import RemoteSpool, SpoolGone
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sender import Sender
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._stream import Receiver

CHUNK, WINDOW = 10000, 3


class Host:
    """A connection plugin to this machine, which can damage what it moves."""

    def __init__(self) -> None:
        self.damage: Callable[[str, str], None] = lambda name, path: None
        self.commands = 0

    def exec_command(self, command: str, in_data: Any = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        assert not sudoable
        self.commands += 1
        done = subprocess.run(command, shell=True, capture_output=True, check=False)
        return done.returncode, b"a banner of the login shell\n" + done.stdout, done.stderr

    def fetch_file(self, remote: str, local: str) -> None:
        shutil.copyfile(remote, local)
        self.damage(os.path.basename(remote), local)

    def put_file(self, local: str, remote: str) -> None:
        shutil.copyfile(local, remote)
        self.damage(os.path.basename(remote), remote)


class Bench:
    """A spool, a store's folder and a module thread."""

    def __init__(self, work: Path, lanes: int) -> None:
        self.host = Host()
        self.parent, self.store, self.local = work / "host", work / "store", work / "local"
        for folder in (self.parent, self.store, self.local):
            folder.mkdir()
        self.remote = RemoteSpool(self.host, str(self.parent), CHUNK, [Host() for _lane in range(lanes)])
        for lane in self.remote.lanes:
            lane.damage = self._damage
        self.path = Path(self.remote.make())
        self.progress = Progress(lambda line: None, "test")
        self.largest = 0
        self.error: BaseException | None = None
        self.value: Any = None

    def _damage(self, name: str, path: str) -> None:
        # A test sets the host's damage after the lanes were made.
        self.host.damage(name, path)

    def module(self, body: Callable[[], Any]) -> threading.Thread:
        def run() -> None:
            try:
                self.value = body()
            except BaseException as exc:  # noqa: BLE001  the test looks at it
                self.error = exc

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def drive(self, pump: Any, thread: threading.Thread, seconds: float = 20) -> None:
        """What the action does, without Ansible."""
        deadline = time.monotonic() + seconds
        ended = False
        while time.monotonic() < deadline:
            with contextlib.suppress(FileNotFoundError):
                sizes = [
                    entry.stat().st_size
                    for entry in os.scandir(self.path)
                    if entry.name[0].isdigit() or entry.name.startswith("feed-")
                ]
                self.largest = max(self.largest, sum(sizes))
            ended = not thread.is_alive()
            try:
                moved = pump.step(self.remote.look(pump.finished_files()))
            except SpoolGone:
                return
            if ended and not moved:
                return
            time.sleep(0.005)
        pytest.fail("the transfer did not end")


@pytest.fixture(params=[0, 2], ids=["one connection", "lanes"])
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    made = Bench(tmp_path, request.param)
    yield made
    made.remote.remove()
    assert os.listdir(made.parent) == []


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def receiver(bench: Bench) -> Receiver:
    return Receiver(bench.remote, StoreSink(DirectorySink(str(bench.store)), []), str(bench.local), bench.progress, {})


def sender(bench: Bench, artifacts: list[dict[str, Any]]) -> Sender:
    source = DirectorySource(str(bench.store), artifacts)
    return Sender(bench.remote, source, str(bench.local), CHUNK, WINDOW, bench.progress)


def stored(bench: Bench, path: str, data: bytes) -> dict[str, Any]:
    target = bench.store / path
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(data)
    return {"path": path, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 10 * CHUNK, 12 * CHUNK + 345]


def test_artifacts_of_every_size_arrive_equal_and_the_spool_stays_within_its_window(bench: Bench) -> None:
    def produce() -> None:
        sink = _spool_sink.SpoolSink(str(bench.path), CHUNK, WINDOW)
        for number, size in enumerate(SIZES):
            data = content(size, number)
            with sink.artifact("many/%d.bin" % number) as out:
                for start in range(0, size, 7777):
                    out.write(data[start : start + 7777])
            assert (out.size, out.sha256) == (size, hashlib.sha256(data).hexdigest())
        sink.close()

    pump = receiver(bench)
    bench.drive(pump, bench.module(produce))
    pump.close()
    assert bench.error is None
    for number, size in enumerate(SIZES):
        assert (bench.store / "many" / ("%d.bin" % number)).read_bytes() == content(size, number)
    assert sorted(pump.received) == sorted("many/%d.bin" % number for number in range(len(SIZES)))
    assert CHUNK < bench.largest <= CHUNK * WINDOW


def test_chunks_can_be_read_by_the_connecting_user_only(bench: Bench) -> None:
    sink = _spool_sink.SpoolSink(str(bench.path), CHUNK, WINDOW)
    with sink.artifact("a/b") as out:
        out.write(content(2 * CHUNK))
        for name in ("000001", "000002", "state.json"):
            found = os.stat(bench.path / name)
            assert (found.st_mode & 0o777, found.st_uid) == (0o600, os.stat(bench.path).st_uid)
    assert os.stat(bench.path).st_mode & 0o777 == 0o700
    sink.close()


def test_a_discarded_artifact_leaves_no_trace_and_can_be_made_again(bench: Bench) -> None:
    def produce() -> None:
        sink = _spool_sink.SpoolSink(str(bench.path), CHUNK, WINDOW)
        for attempt in range(3):
            with contextlib.suppress(KeyError), sink.artifact("static/media.tar") as out:
                out.write(content(5 * CHUNK + 17, attempt))
                if attempt < 2:
                    raise KeyError("changed while read")
        with contextlib.suppress(KeyError), sink.artifact("static/never.tar") as out:
            out.write(content(4 * CHUNK))
            raise KeyError("gone")
        sink.close()

    pump = receiver(bench)
    bench.drive(pump, bench.module(produce))
    pump.close()
    assert bench.error is None
    assert (bench.store / "static" / "media.tar").read_bytes() == content(5 * CHUNK + 17, 2)
    assert os.listdir(bench.store / "static") == ["media.tar"]


@pytest.mark.parametrize("how", ["flip", "truncate", "extend"])
def test_a_chunk_that_arrives_altered_is_refused_and_nothing_is_visible(bench: Bench, how: str) -> None:
    def damage(name: str, path: str) -> None:
        if name == "000003":
            data = bytearray(Path(path).read_bytes())
            if how == "flip":
                data[CHUNK // 2] ^= 1
            Path(path).write_bytes(data[:-1] if how == "truncate" else data + b"x" * (how == "extend"))

    def produce() -> None:
        sink = _spool_sink.SpoolSink(str(bench.path), CHUNK, WINDOW)
        with sink.artifact("postgresql/a.dump") as out:
            out.write(content(8 * CHUNK))
        sink.close()

    bench.host.damage = damage
    pump = receiver(bench)
    thread = bench.module(produce)
    with pytest.raises(IntegrityError, match=r"Chunk 3 of .*postgresql/a\.dump did not arrive as it was sent"):
        bench.drive(pump, thread)
    pump.close()
    bench.remote.abort()
    thread.join(10)
    assert isinstance(bench.error, StateError)
    assert "controller stopped" in str(bench.error)
    assert os.listdir(bench.store / "postgresql") == []


def test_a_producer_gives_up_and_clears_the_spool_when_the_controller_is_silent(bench: Bench) -> None:
    def produce() -> None:
        (bench.path / "lease").write_text("1\n")
        sink = _spool_sink.SpoolSink(str(bench.path), CHUNK, 1)
        with sink.artifact("a/b") as out:
            out.write(content(5 * CHUNK))

    thread = bench.module(produce)
    thread.join(15)
    assert isinstance(bench.error, StateError)
    assert "not heard of" in str(bench.error)
    assert not bench.path.exists()


def test_a_consumer_gives_up_too(bench: Bench) -> None:
    def consume() -> None:
        (bench.path / "lease").write_text("1\n")
        source = _spool_source.SpoolSource(str(bench.path), [{"path": "a/b", "size": 1, "sha256": "0" * 64}])
        with source.artifact("a/b") as inp:
            inp.read(1)

    bench.module(consume).join(15)
    assert "not heard of" in str(bench.error)
    assert not bench.path.exists()


def test_a_full_spool_names_the_options(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = _spool_sink.SpoolSink(str(bench.path), CHUNK, WINDOW)

    class Full:
        def write(self, data: bytes) -> int:
            raise OSError(28, "No space left on device")

    def produce() -> None:
        with sink.artifact("a/b") as out:
            out.write(b"x")
            monkeypatch.setattr(sink, "_part", Full())
            out.write(b"y")

    with pytest.raises(SpaceError) as caught:
        produce()
    assert "spool_dir" in str(caught.value)
    sink.close()


def test_a_spool_of_another_user_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RecoveryError, match="become root"):
        _spool_sink.SpoolSink(str(tmp_path / "absent"), CHUNK, WINDOW)


def test_a_consumer_reads_in_its_own_order_in_part_and_again(bench: Bench) -> None:
    blobs = {"many/%d.bin" % number: content(size, number) for number, size in enumerate(SIZES)}
    artifacts = [stored(bench, path, data) for path, data in blobs.items()]
    big = "many/%d.bin" % (len(SIZES) - 1)

    def read(source: _spool_source.SpoolSource, path: str) -> bytes:
        with source.artifact(path) as inp:
            parts = []
            while data := inp.read(3333):
                parts.append(data)
            return b"".join(parts)

    def consume() -> dict[str, bytes]:
        source = _spool_source.SpoolSource(str(bench.path), artifacts)
        with contextlib.suppress(KeyError), source.artifact(big) as inp:
            assert inp.read(5) == blobs[big][:5]
            raise KeyError("enough")
        with source.artifact(big) as inp:
            assert inp.read(2 * CHUNK) == blobs[big][: 2 * CHUNK]
        seen = {path: read(source, path) for path in reversed(list(blobs))}
        assert read(source, big) == blobs[big]
        assert source.has(big)
        assert not source.has("none/x")
        source.close()
        return seen

    pump = sender(bench, artifacts)
    bench.drive(pump, bench.module(consume))
    pump.close()
    assert bench.error is None
    assert bench.value == blobs
    assert CHUNK < bench.largest <= CHUNK * WINDOW


def test_a_fed_chunk_that_arrives_altered_is_refused(bench: Bench) -> None:
    artifact = stored(bench, "a/b", content(6 * CHUNK))

    def damage(name: str, path: str) -> None:
        if name.startswith("feed-1-4-"):
            data = bytearray(Path(path).read_bytes())
            data[3] ^= 1
            Path(path).write_bytes(data)

    def consume() -> None:
        source = _spool_source.SpoolSource(str(bench.path), [artifact])
        with source.artifact("a/b") as inp:
            inp.drain()

    bench.host.damage = damage
    pump = sender(bench, [artifact])
    bench.drive(pump, bench.module(consume))
    pump.close()
    assert isinstance(bench.error, IntegrityError)
    assert "Chunk 4 of a/b" in str(bench.error)


@pytest.mark.parametrize("how", ["flip", "truncate"])
def test_an_artifact_damaged_in_the_store_stops_the_transfer(bench: Bench, how: str) -> None:
    artifact = stored(bench, "a/b", content(6 * CHUNK))
    data = bytearray(content(6 * CHUNK))
    data[-5] ^= 1
    (bench.store / "a" / "b").write_bytes(data if how == "flip" else data[: 3 * CHUNK])

    def consume() -> None:
        source = _spool_source.SpoolSource(str(bench.path), [artifact])
        with source.artifact("a/b") as inp:
            inp.drain()

    pump = sender(bench, [artifact])
    thread = bench.module(consume)
    with pytest.raises(IntegrityError, match=str(bench.store / "a" / "b")):
        bench.drive(pump, thread)
    pump.close()
    bench.remote.abort()
    thread.join(10)
    assert "controller stopped" in str(bench.error)


def test_spools_of_dead_runs_are_cleared_and_those_of_living_ones_are_not(tmp_path: Path) -> None:
    first = RemoteSpool(Host(), str(tmp_path), CHUNK)
    living = Path(first.make())
    ended = subprocess.Popen(["true"])
    ended.wait()
    host = living.name.split("-")[1]
    dead = tmp_path / (".authentik_recovery-%s-%d-abcdefgh" % (host, ended.pid))
    elsewhere = tmp_path / ".authentik_recovery-elsewhere-1-abcdefgh"
    expired = tmp_path / ".authentik_recovery-elsewhere-2-abcdefgh"
    for folder in (dead, elsewhere, expired):
        folder.mkdir()
        (folder / "lease").write_text("60\n")
        (folder / "000001").write_text("secret")
    os.utime(expired / "lease", (time.time() - 61, time.time() - 61))
    second = RemoteSpool(Host(), str(tmp_path), CHUNK)
    made = Path(second.make())
    assert sorted(os.listdir(tmp_path)) == sorted([living.name, made.name, elsewhere.name])


@pytest.mark.parametrize("place", ["absent", "a file"])
def test_a_spool_dir_that_cannot_be_used_names_the_option(tmp_path: Path, place: str) -> None:
    (tmp_path / "a file").write_text("")
    with pytest.raises(RecoveryError, match="spool_dir"):
        RemoteSpool(Host(), str(tmp_path / place), CHUNK).make()


def test_a_spool_whose_disk_is_full_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As on a full disk, the folder is made and nothing can be written into it.
    mktemp = tmp_path / "mktemp"
    mktemp.write_text('#!/bin/sh\np=$(%s "$@") && mkdir "$p/lease" && echo "$p"\n' % shutil.which("mktemp"))
    mktemp.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(RecoveryError, match="free space"):
        RemoteSpool(Host(), str(tmp_path), CHUNK).make()
    assert os.listdir(tmp_path) == ["mktemp"]


def test_a_slow_line_gets_a_longer_lease(tmp_path: Path) -> None:
    remote = RemoteSpool(Host(), str(tmp_path), 64 * 1024 * 1024)
    lease = Path(remote.make()) / "lease"
    assert int(lease.read_text()) > 1000
    for seconds, expected in ((0.5, 120), (100.0, 860), (10000.0, 3000)):
        remote.moved(seconds)
        remote.look()
        assert int(lease.read_text()) == expected
