# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Proof that a stream of bytes has reached its end, taken while it passes by.

An exit status of 0 does not prove it: something between the program and us may have cut the stream. Nothing is
decoded here and nothing is kept in memory.
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
    """The start and the end of ``pg_dump``'s custom format.

    :param has_data: the archive holds at least one table's data, so its last block's terminator ends it.
    """

    _MAGIC = b"PGDMP"
    _TERMINATOR = b"\0\0\0\0\0"

    def __init__(self, has_data: bool) -> None:
        self._has_data = has_data
        self._first = b""
        self._last = b""

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        if len(self._first) < len(self._MAGIC):
            self._first = (self._first + data)[: len(self._MAGIC)]
        self._last = (self._last + data[-len(self._TERMINATOR) :])[-len(self._TERMINATOR) :]

    def problem(self) -> str | None:
        """Return why the stream is not whole, None when nothing speaks against it."""
        if self._first != self._MAGIC:
            return "it does not begin as an archive of pg_dump"
        if self._has_data and self._last != self._TERMINATOR:
            return "it does not end with the terminator of the last table's data"
        return None
