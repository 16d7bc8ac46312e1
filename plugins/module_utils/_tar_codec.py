# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Archives are compressed by the program ``zstd`` where the host has it, else by Python's gzip."""

from __future__ import annotations

import contextlib
import gzip
import threading
import zlib
from typing import TYPE_CHECKING

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    IntegrityError,
    ToolError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._process import Command, Pipeline, find_program
from ansible_collections.authentik_ops.recovery.plugins.module_utils._tar import TarReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from typing import IO, Any

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import DirectorySource
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._spool_source import SpoolSource
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._tar import Readable, Writable

CHUNK = 256 * 1024
SUFFIXES = {"zstd": "tar.zst", "gzip": "tar.gz"}


def choose(wanted: str) -> str:
    """``zstd`` or ``gzip`` for the option's ``auto``, ``zstd`` or ``gzip``.

    :raises ToolError: zstd was asked for and is not installed.
    """
    if wanted == "gzip" or (wanted == "auto" and find_program("zstd") is None):
        return "gzip"
    _zstd()
    return "zstd"


def _zstd() -> str:
    program = find_program("zstd")
    if program is None:
        raise ToolError(
            "The program zstd is not installed on this host",
            "Install the package zstd (it has that name on Debian, Ubuntu, RHEL, SUSE and Alpine)",
            "ansible HOST -b -m ansible.builtin.package -a name=zstd",
        )
    return program


@contextlib.contextmanager
def compressor(out: Writable, compression: str) -> Iterator[Writable]:
    """Yield where to write plain bytes; left normally, all of them have reached ``out`` compressed."""
    if compression == "gzip":
        with gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=out, mtime=0) as packer:  # type: ignore[call-overload]
            yield packer
        return
    carrier = None
    try:
        with Pipeline([Command([_zstd(), "-1", "-q", "-c"])], stdin=True) as pipeline:
            carrier = _Carrier(pipeline.stdout, out, closes=False)
            yield _Watched(pipeline.stdin, carrier)
            pipeline.stdin.close()
            carrier.join()
            pipeline.finish()
    finally:
        if carrier is not None:
            carrier.stop()


def decompressor(packed: Readable, compression: str, label: str) -> AbstractContextManager[Readable]:
    """Return a context of where to read plain bytes; left normally, ``packed`` was read and decoded to its end.

    :param label: names the artifact in errors.
    :raises IntegrityError: what was read does not decode.
    """
    if compression == "gzip":
        return _gunzip(packed, label)
    if compression == "zstd":
        return _unzstd(packed, label)
    raise InputError("%s is compressed by %s, which is not known here" % (label, compression))


@contextlib.contextmanager
def open_archive(record: dict[str, Any], source: DirectorySource | SpoolSource) -> Iterator[TarReader]:
    """Yield a reader of a component's archive; left normally, all of it was compared, decoded and read.

    :param record: the component's, its ``artifacts`` being the manifest's entries; its ``outside_links`` are accepted.
    """
    artifact = record["artifacts"][0]
    path = artifact["path"]
    with source.artifact(path) as packed, decompressor(packed, artifact["compression"], path) as plain:
        yield TarReader(plain, record.get("outside_links", {}))


@contextlib.contextmanager
def _gunzip(packed: Readable, label: str) -> Iterator[Readable]:
    plain = _Gunzip(packed, label)
    try:
        yield plain
        while plain.read(CHUNK):
            pass
    finally:
        plain.close()


@contextlib.contextmanager
def _unzstd(packed: Readable, label: str) -> Iterator[Readable]:
    carrier, program = None, _zstd()
    try:
        with Pipeline([Command([program, "-d", "-q", "-c"])], stdin=True) as pipeline:
            carrier = _Carrier(packed, pipeline.stdin, closes=True)
            yield pipeline.stdout
            while pipeline.stdout.read(CHUNK):
                pass
            carrier.join()
            pipeline.finish()
    except ToolError as exc:
        raise _undecodable(label, exc.cause) from exc
    except IntegrityError:
        # An archive that ends early most often does so because its bytes were altered: then that is the cause to name.
        if carrier is not None:
            carrier.join()
        raise
    finally:
        if carrier is not None:
            carrier.stop()


class _Gunzip:
    def __init__(self, packed: Readable, label: str) -> None:
        self._packed = packed
        self._label = label
        self._file = gzip.GzipFile(fileobj=packed, mode="rb")  # type: ignore[call-overload]

    def read(self, size: int, /) -> bytes:
        try:
            return self._file.read(size)
        except (EOFError, OSError, zlib.error) as exc:
            while self._packed.read(CHUNK):
                pass  # the checksum at the end is the better explanation
            raise _undecodable(self._label, str(exc)) from exc

    def close(self) -> None:
        self._file.close()


class _Carrier:
    """Carries bytes from one end to another in a thread of its own.

    When the writing end breaks, the reading end is still read to its end, so that nobody waits on it.
    """

    def __init__(self, source: Readable, target: Writable, closes: bool) -> None:
        self._source = source
        self._target = target
        self._closes = closes
        self._stopped = False
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def _carry(self) -> None:
        target: Writable | None = self._target
        try:
            while True:
                data = self._source.read(CHUNK)
                if not data or self._stopped:
                    break
                if target is not None:
                    target = self._put(target, data)
        except BaseException as exc:  # noqa: BLE001  it is raised again in the other thread
            self.error = self.error or exc
        if self._closes:
            with contextlib.suppress(BrokenPipeError, ValueError):
                self._target.close()  # type: ignore[attr-defined]

    def _put(self, target: Writable, data: bytes) -> Writable | None:
        try:
            target.write(data)
        except (BrokenPipeError, ValueError):
            return None  # the program ended, or was stopped and the pipe closed: its exit status and last words say why
        except BaseException as exc:  # noqa: BLE001  it is raised again in the other thread
            self.error = exc
            return None
        return target

    def join(self) -> None:
        """Wait for the end and raise what went wrong in there."""
        self._thread.join()
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """Let it end early, and wait for that."""
        self._stopped = True
        self._thread.join()


class _Watched:
    """The input of a program whose output is carried elsewhere: trouble over there stops the writing here."""

    def __init__(self, stdin: IO[bytes], carrier: _Carrier) -> None:
        self._stdin = stdin
        self._carrier = carrier

    def write(self, data: bytes, /) -> object:
        if self._carrier.error is not None:
            raise self._carrier.error
        return self._stdin.write(data)


def _undecodable(label: str, why: str) -> IntegrityError:
    return IntegrityError("%s cannot be decompressed: %s" % (label, why), "It is damaged; choose another backup set")
