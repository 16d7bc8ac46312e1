# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Proof that a stream of bytes has reached its end, taken while it passes by.

An exit status of 0 does not prove it: something between the program and us may have cut the stream. Nothing is
decoded here, and nothing is kept in memory but an archive's table of contents until it is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Protocol

    class EndCheck(Protocol):
        """Sees every piece of a stream in order, and says at the end what is wrong with it."""

        def feed(self, data: bytes) -> None:
            """Take the next piece."""

        def problem(self) -> str | None:
            """Return why the stream is not whole, None when it is."""


_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_BLOCK_RLE = 1
_BLOCK_RESERVED = 3
_DICTIONARY_ID_SIZES = (0, 1, 2, 4)
_CONTENT_SIZE_SIZES = (0, 2, 4, 8)


class ZstdFrames:
    """Walks through the blocks of zstd frames (RFC 8878) by their headers alone."""

    def __init__(self) -> None:
        self._head = b""
        self._needed = 5
        self._skip = 0
        self._state = self._frame
        self._checksum = False
        self._frames = 0
        self._error = ""

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        position = 0
        while position < len(data) and not self._error:
            if self._skip:
                step = min(self._skip, len(data) - position)
                self._skip -= step
                position += step
                continue
            missing = self._needed - len(self._head)
            self._head += data[position : position + missing]
            position += missing
            if len(self._head) >= self._needed:
                self._state()

    def problem(self) -> str | None:
        """Return why the stream is not whole, None when it ends with a finished frame."""
        if self._error:
            return self._error
        if self._frames == 0:
            return "it holds no zstd frame"
        if self._skip or self._head or self._state != self._frame:
            return "it ends within a zstd frame"
        return None

    def _next(self, state: object, needed: int, skip: int = 0) -> None:
        self._head = b""
        self._state = state  # type: ignore[assignment]
        self._needed = needed
        self._skip = skip

    def _frame(self) -> None:
        if self._head[:4] != _ZSTD_MAGIC:
            self._error = "it has something else where a zstd frame should begin"
            return
        descriptor = self._head[4]
        self._checksum = bool(descriptor & 0x04)
        single_segment = bool(descriptor & 0x20)
        content_size = _CONTENT_SIZE_SIZES[descriptor >> 6] or int(single_segment)
        rest = (not single_segment) + _DICTIONARY_ID_SIZES[descriptor & 0x03] + content_size
        self._next(self._block, 3, rest)

    def _block(self) -> None:
        header = int.from_bytes(self._head, "little")
        kind = (header >> 1) & 0x03
        size = 1 if kind == _BLOCK_RLE else header >> 3
        if kind == _BLOCK_RESERVED:
            self._error = "it has a broken zstd block"
        elif header & 0x01:
            # Content and checksum of the last block are skipped together; the frame counts when they have passed.
            self._frames += 1
            self._next(self._frame, 5, size + (4 if self._checksum else 0))
        else:
            self._next(self._block, 3, size)


class CustomArchive:
    """The start and the end of ``pg_dump``'s custom format, and how many blocks of data lie between.

    Five zero bytes end a block. They occur all over the table of contents too, so an archive that was cut within it
    may well look finished: the table is read to learn where it ends and how many blocks follow.

    :param has_data: the archive holds at least one table's data.
    """

    _MAGIC = b"PGDMP"
    _TERMINATOR = b"\0\0\0\0\0"
    _FIRST_LOOK = 64 * 1024

    def __init__(self, has_data: bool) -> None:
        self._has_data = has_data
        self._head: bytes | None = b""  # what came so far, until the table of contents could be read
        self._next_look = self._FIRST_LOOK
        self._blocks: int | None = None
        self._ended = 0
        self._tail = b""
        self._first = b""
        self._last = b""

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        if len(self._first) < len(self._MAGIC):
            self._first = (self._first + data)[: len(self._MAGIC)]
        self._last = (self._last + data[-len(self._TERMINATOR) :])[-len(self._TERMINATOR) :]
        if self._head is None:
            self._count(data)
            return
        self._head += data
        if len(self._head) >= self._next_look:
            self._next_look = 2 * len(self._head)
            self._look()

    def problem(self) -> str | None:
        """Return why the stream is not whole, None when nothing speaks against it."""
        if self._first != self._MAGIC:
            return "it does not begin as an archive of pg_dump"
        self._look()
        if self._head is not None:
            return "it ends within its table of contents"
        if self._blocks == 0 and self._has_data:
            return "it holds no table's data"
        if (self._has_data or self._blocks) and self._last != self._TERMINATOR:
            return "it does not end with the terminator of the last table's data"
        if self._blocks is not None and self._ended < self._blocks:
            return "it holds the data of %d tables of %d" % (self._ended, self._blocks)
        return None

    def _look(self) -> None:
        if self._head is None:
            return
        try:
            end, self._blocks = read_contents(self._head)
        except EOFError:
            return  # more is to come
        except ValueError:
            end = len(self._head)  # a format that is not known here: its two ends have to do
        data, self._head = self._head[end:], None
        self._count(data)

    def _count(self, data: bytes) -> None:
        if self._blocks is None or self._ended >= self._blocks:
            return
        data, position = self._tail + data, 0
        while self._ended < self._blocks:
            found = data.find(self._TERMINATOR, position)
            if found < 0:
                break
            self._ended += 1
            position = found + len(self._TERMINATOR)
        self._tail = data[max(position, len(data) - len(self._TERMINATOR) + 1) :]


_CONTENTS_VERSIONS = ((1, 14), (1, 15), (1, 16))
_LONGEST_STRING = 1 << 30


def read_contents(data: bytes) -> tuple[int, int]:
    """Return where the table of contents of a custom archive ends, and how many blocks of data follow. Pure.

    :raises EOFError: when the data ends before it does.
    :raises ValueError: when the archive is of a version that is not known here (12 to 18 write 1.14 to 1.16).
    """
    if len(data) < 11:
        raise EOFError
    version, fields = (data[5], data[6]), _Fields(data, data[8], data[9])
    if version not in _CONTENTS_VERSIONS or data[10] != 1:
        raise ValueError("archive version %d.%d" % version)
    fields.skip(11)
    if version >= (1, 15):
        fields.skip(1)  # the kind of compression
    else:
        fields.number()
    for _part in ("second", "minute", "hour", "day", "month", "year", "daylight saving"):
        fields.number()
    for _name in ("database", "server's version", "pg_dump's version"):
        fields.string()
    blocks = 0
    for _entry in range(fields.number()):
        fields.number()
        blocks += 1 if fields.number() else 0
        for _name in ("table's oid", "oid", "tag", "description"):
            fields.string()
        fields.number()  # the section
        for _name in ("definition", "drop", "copy", "namespace", "tablespace", "access method"):
            fields.string()
        if version >= (1, 16):
            fields.number()  # the kind of relation
        for _name in ("owner", "with oids"):
            fields.string()
        while fields.string():
            pass  # what it depends on
        fields.skip(1 + data[9])  # where its data is
    return fields.position, blocks


class _Fields:
    """Numbers and strings as ``pg_dump`` writes them, one after the other."""

    def __init__(self, data: bytes, int_size: int, offset_size: int) -> None:
        if not (1 <= int_size <= 8 and 1 <= offset_size <= 8):
            raise ValueError("sizes %d and %d" % (int_size, offset_size))
        self._data = data
        self._int_size = int_size
        self.position = 0

    def skip(self, size: int) -> None:
        """Go on by some bytes."""
        self.position += size
        if self.position > len(self._data):
            raise EOFError

    def number(self) -> int:
        """Return the next number: a byte for the sign, and its bytes, the lowest first."""
        start = self.position
        self.skip(1 + self._int_size)
        value = int.from_bytes(self._data[start + 1 : self.position], "little")
        return -value if self._data[start] else value

    def string(self) -> bool:
        """Skip the next string and say whether there is one: its length is negative when not."""
        size = self.number()
        if size > _LONGEST_STRING:
            raise ValueError("a string of %d bytes" % size)
        if size >= 0:
            self.skip(size)
        return size >= 0
