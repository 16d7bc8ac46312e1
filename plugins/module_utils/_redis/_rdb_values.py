# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The bytes of an RDB file: lengths, strings and where a value of each type ends."""

from __future__ import annotations

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._crc64 import STRIPE, crc64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

CHUNK = 1 << 20
_MODULE_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def module_name(identifier: int) -> str:
    """Return the nine-character type name and the version that a module's 64-bit id stands for."""
    name = "".join(_MODULE_CHARACTERS[(identifier >> (10 + 6 * place)) & 63] for place in reversed(range(9)))
    return "%s version %d" % (name, identifier & 1023)


class Cursor:
    """A place in a stream of bytes that knows the checksum of everything before it.

    Marked bytes stay in memory until the next :meth:`mark`; nothing else does.
    """

    def __init__(self, source: Any) -> None:
        self._source = source
        self._state = 0
        self._buffer = bytearray()
        self._next = 0  # of _buffer: the next byte to read
        self._summed = 0  # of _buffer: bytes that the checksum has seen
        self._mark = -1
        self._dropped = 0

    @property
    def position(self) -> int:
        """Bytes read so far."""
        return self._dropped + self._next

    def _need(self, count: int) -> None:
        """Have *count* bytes ready after the current place, or raise."""
        missing = count - (len(self._buffer) - self._next)
        if missing <= 0:
            return
        self._drop()
        # Whole chunks also from a source that gives little at a time: the checksum is fast on long input only.
        wanted, got = max(missing, CHUNK), 0
        while got < wanted:
            data = self._source.read(min(wanted - got, 16 * CHUNK))
            if not data:
                break
            self._buffer += data
            got += len(data)
        if got < missing:
            raise IntegrityError(
                "The dump ends after %d bytes, in the middle of it." % (self._dropped + len(self._buffer)),
                "It was cut short; use another backup set.",
            )

    def _drop(self) -> None:
        """Forget what was read and is in the checksum."""
        read = self._next - self._summed
        self._sum(read - read % STRIPE)
        keep = min(self._summed, self._next if self._mark < 0 else self._mark)
        del self._buffer[:keep]
        self._dropped += keep
        self._next -= keep
        self._summed -= keep
        if self._mark >= 0:
            self._mark -= keep

    def _sum(self, count: int) -> None:
        end = self._summed + count
        self._state = crc64(bytes(memoryview(self._buffer)[self._summed : end]), self._state)
        self._summed = end

    def checksum(self) -> int:
        """Return the CRC-64 of everything read so far."""
        self._sum(self._next - self._summed)
        return self._state

    def rest(self) -> int:
        """Return how many bytes can be seen after the current place: 0 at the end of the stream."""
        left = len(self._buffer) - self._next
        return left if left else len(self._source.read(CHUNK))

    def mark(self) -> int:
        """Keep the bytes from here on for :meth:`since`."""
        self._mark = self._next
        return self.position

    def since(self, start: int) -> bytes:
        """Return the bytes from the marked place to here, and let go of them."""
        data = bytes(memoryview(self._buffer)[start - self._dropped : self._next])
        self._mark = -1
        return data

    def byte(self) -> int:
        """Return the next byte."""
        if self._next >= len(self._buffer):
            self._need(1)
        value = self._buffer[self._next]
        self._next += 1
        return value

    def take(self, count: int) -> bytes:
        """Return the next *count* bytes."""
        self._need(count)
        start = self._next
        self._next = start + count
        return bytes(memoryview(self._buffer)[start : self._next])

    def skip(self, count: int) -> None:
        """Step over *count* bytes."""
        if len(self._buffer) - self._next < count:
            self._need(count)
        self._next += count

    def integer(self, count: int) -> int:
        """Return a little-endian unsigned number of *count* bytes."""
        return int.from_bytes(self.take(count), "little")

    def length(self) -> int:
        """Return a length; a special encoding in its place raises."""
        value, special = self._length()
        if special:
            raise self.damaged("a string encoding stands where a length belongs")
        return value

    def _length(self) -> tuple[int, bool]:
        first = self.byte()
        kind = first >> 6
        if kind == 0:
            return first, False
        if kind == 1:
            return ((first & 63) << 8) | self.byte(), False
        if kind == 3:
            return first & 63, True
        if first == 0x80:
            return int.from_bytes(self.take(4), "big"), False
        if first == 0x81:
            return int.from_bytes(self.take(8), "big"), False
        raise self.damaged("unknown length encoding 0x%02x" % first)

    def skip_string(self) -> None:
        """Step over a string in any encoding."""
        value, special = self._length()
        if not special:
            self.skip(value)
        elif value < 3:
            self.skip(1 << value)
        elif value == 3:
            packed = self.length()
            self.length()
            self.skip(packed)
        else:
            raise self.damaged("unknown string encoding %d" % value)

    def string(self) -> bytes:
        """Return a string, decompressed and with integers as decimal text."""
        value, special = self._length()
        if not special:
            return self.take(value)
        if value < 3:
            return b"%d" % int.from_bytes(self.take(1 << value), "little", signed=True)
        if value != 3:
            raise self.damaged("unknown string encoding %d" % value)
        packed = self.length()
        plain = self.length()
        try:
            return lzf_decompress(self.take(packed), plain)
        except ValueError as error:
            raise self.damaged(str(error)) from error

    def damaged(self, what: str) -> IntegrityError:
        """Return the error for bytes that make no sense here."""
        return IntegrityError(
            "The dump is damaged before byte %d: %s." % (self.position, what),
            "It was altered, or a newer Redis wrote it; use another backup set.",
        )


def lzf_decompress(data: bytes, size: int) -> bytes:
    """Undo LZF compression; ValueError unless exactly *size* bytes come out."""
    out = bytearray()
    position, end = 0, len(data)
    try:
        while position < end:
            control = data[position]
            position += 1
            if control < 32:
                position += control + 1
                if position > end:
                    raise ValueError("a compressed string is cut short")
                out += data[position - control - 1 : position]
                continue
            count = control >> 5
            if count == 7:
                count += data[position]
                position += 1
            begin = len(out) - ((control & 31) << 8) - data[position] - 1
            position += 1
            if begin < 0:
                raise ValueError("a compressed string refers to bytes before its beginning")
            for place in range(begin, begin + count + 2):
                out.append(out[place])
    except IndexError:
        raise ValueError("a compressed string is cut short") from None
    if len(out) != size:
        raise ValueError("a compressed string has %d bytes instead of %d" % (len(out), size))
    return bytes(out)


def skip_value(cursor: Cursor, code: int, version: int) -> None:
    """Step over the value of a key of RDB type *code*; IntegrityError for a type that is not known."""
    skip = _SKIP.get(code)
    if skip is None:
        raise cursor.damaged("a key has a value of the unknown type %d (RDB version %d)" % (code, version))
    skip(cursor)


def _skip_strings(cursor: Cursor, count: int) -> None:
    skip = cursor.skip_string
    for _item in range(count):
        skip()


def _skip_lengths(cursor: Cursor, count: int) -> None:
    for _item in range(count):
        cursor.length()


def _skip_stream(cursor: Cursor, generation: int) -> None:
    _skip_strings(cursor, 2 * cursor.length())  # entries: first id, listpack
    # length and last id; from generation 2 also first id, largest deleted id and entries ever added
    _skip_lengths(cursor, 3 if generation == 1 else 8)
    for _group in range(cursor.length()):
        cursor.skip_string()
        _skip_lengths(cursor, 2 if generation == 1 else 3)
        for _pending in range(cursor.length()):
            cursor.skip(16 + 8)  # id, time of delivery
            cursor.length()
        for _consumer in range(cursor.length()):
            cursor.skip_string()
            cursor.skip(8 if generation < 3 else 16)  # last seen; from generation 3 also last active
            cursor.skip(16 * cursor.length())


def _skip_members(cursor: Cursor) -> None:
    _skip_strings(cursor, cursor.length())


def _skip_hash(cursor: Cursor) -> None:
    _skip_strings(cursor, 2 * cursor.length())


def _skip_zset(cursor: Cursor) -> None:
    for _member in range(cursor.length()):
        cursor.skip_string()
        cursor.skip(8)


def _skip_zset_of_text(cursor: Cursor) -> None:
    for _member in range(cursor.length()):
        cursor.skip_string()
        digits = cursor.byte()
        if digits < 253:  # 253..255 stand for NaN and the infinities
            cursor.skip(digits)


def _skip_quicklist(cursor: Cursor) -> None:
    for _node in range(cursor.length()):
        cursor.length()
        cursor.skip_string()


def _skip_hash_with_expiry(cursor: Cursor) -> None:
    for _field in range(cursor.length()):
        cursor.length()
        _skip_strings(cursor, 2)


def _skip_module_value(cursor: Cursor) -> None:
    module = module_name(cursor.length())
    while True:
        part = cursor.length()
        if part == 0:
            return
        if part in (1, 2):
            cursor.length()
        elif part == 3:
            cursor.skip(4)
        elif part == 4:
            cursor.skip(8)
        elif part == 5:
            cursor.skip_string()
        else:
            raise cursor.damaged("a value of module %s has an unknown part %d" % (module, part))


def _after_time(skip: Callable[[Cursor], None]) -> Callable[[Cursor], None]:
    """The layout begins with the earliest expiry of a field."""

    def skip_both(cursor: Cursor) -> None:
        cursor.skip(8)
        skip(cursor)

    return skip_both


def _stream(generation: int) -> Callable[[Cursor], None]:
    return lambda cursor: _skip_stream(cursor, generation)


_SKIP: dict[int, Callable[[Cursor], None]] = {
    0: Cursor.skip_string,  # string
    1: _skip_members,  # list
    2: _skip_members,  # set
    3: _skip_zset_of_text,
    4: _skip_hash,
    5: _skip_zset,
    7: _skip_module_value,
    9: Cursor.skip_string,  # hash, zipmap
    10: Cursor.skip_string,  # list, ziplist
    11: Cursor.skip_string,  # set, intset
    12: Cursor.skip_string,  # zset, ziplist
    13: Cursor.skip_string,  # hash, ziplist
    14: _skip_members,  # list, quicklist of ziplists
    15: _stream(1),
    16: Cursor.skip_string,  # hash, listpack
    17: Cursor.skip_string,  # zset, listpack
    18: _skip_quicklist,
    19: _stream(2),
    20: Cursor.skip_string,  # set, listpack
    21: _stream(3),
    22: _skip_hash_with_expiry,  # as the candidates of 7.4 wrote it
    23: Cursor.skip_string,  # likewise, listpack
    24: _after_time(_skip_hash_with_expiry),
    25: _after_time(Cursor.skip_string),  # hash with expiring fields, listpack
}
