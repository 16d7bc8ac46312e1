# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The RDB reader on bytes written by hand: layouts old and new, and every way in which a file can be wrong."""

from __future__ import annotations

import io
import random
from array import array

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError, StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis import _load, _rdb, _rdb_values
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._crc64 import crc64

MS = (1_900_000_000_123).to_bytes(8, "little")


def slow_crc64(data: bytes) -> int:
    """CRC-64 Jones bit by bit, from its definition: polynomial 0xad93d23594c935a9, reflected in and out."""
    register = 0
    for byte in data:
        for bit in range(8):
            top = register >> 63
            register = (register << 1) & (2**64 - 1)
            if top ^ ((byte >> bit) & 1):
                register ^= 0xAD93D23594C935A9
    return int("{:064b}".format(register)[::-1], 2)


def text(value: bytes) -> bytes:
    """Encode a string as the plainest RDB string."""
    assert len(value) < 64
    return bytes([len(value)]) + value


def rdb(body: bytes, version: int = 9, checksum: bool = True) -> bytes:
    """Wrap a body into header, end and checksum."""
    data = b"REDIS%04d" % version + body + b"\xff"
    return data + (slow_crc64(data) if checksum else 0).to_bytes(8, "little")


def read(data: bytes) -> tuple[list[_rdb.Key], _rdb.Summary]:
    """Read a file from a source that gives few bytes at a time."""

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size if size and size > 0 else 7, 7))

    reader = _rdb.RdbReader(Slow(data))
    return list(reader), reader.summary


@pytest.mark.parametrize("size", [0, 1, 9, 4096, 300000])
def test_crc64_is_that_of_redis(size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert crc64(b"123456789") == 0xE9C6D914C4B8D9CA  # the check value that Redis states
    assert crc64(data) == slow_crc64(data)
    cut = size // 3
    assert crc64(data[cut:], crc64(data[:cut])) == crc64(data)


STREAM_HEAD = b"\x01" + text(b"1" * 16) + text(b"listpack") + b"\x05\x01\x02"
STREAM_GROUP = text(b"group") + b"\x01\x02"
PENDING = b"\x01" + b"i" * 16 + MS + b"\x03"


@pytest.mark.parametrize(
    ("code", "value"),
    [
        (0, text(b"plain")),
        (0, b"\xc0\x80"),
        (0, b"\xc1\x00\x80"),
        (0, b"\xc2\x00\x00\x00\x80"),
        (0, b"\x40\x45" + b"x" * 69),
        (0, b"\x80\x00\x00\x00\x03abc"),
        (0, b"\x81" + b"\x00" * 7 + b"\x03abc"),
        (0, b"\xc3\x03\x05\x01ab"),
        (1, b"\x02" + text(b"a") + b"\xc0\x01"),
        (2, b"\x00"),
        (3, b"\x04" + text(b"a") + b"\x031.5" + text(b"b") + b"\xfd" + text(b"c") + b"\xfe" + text(b"d") + b"\xff"),
        (4, b"\x01" + text(b"f") + text(b"v")),
        (5, b"\x01" + text(b"m") + b"\x00" * 8),
        (
            7,
            b"\x81"
            + b"\x12" * 8
            + b"\x01\x05\x02\x06\x03"
            + b"\x00" * 4
            + b"\x04"
            + b"\x00" * 8
            + b"\x05"
            + text(b"s")
            + b"\x00",
        ),
        (9, text(b"zipmap")),
        (10, text(b"ziplist")),
        (11, text(b"intset")),
        (12, text(b"ziplist")),
        (13, text(b"ziplist")),
        (14, b"\x02" + text(b"node") + text(b"node")),
        (15, STREAM_HEAD + b"\x01" + STREAM_GROUP + PENDING + b"\x01" + text(b"c") + MS + b"\x01" + b"i" * 16),
        (16, text(b"listpack")),
        (17, text(b"listpack")),
        (18, b"\x02\x01" + text(b"plain node") + b"\x02" + text(b"packed node")),
        (
            19,
            STREAM_HEAD
            + b"\x00" * 5
            + b"\x01"
            + STREAM_GROUP
            + b"\x09"
            + PENDING
            + b"\x01"
            + text(b"c")
            + MS
            + b"\x01"
            + b"i" * 16,
        ),
        (20, text(b"listpack")),
        (
            21,
            STREAM_HEAD
            + b"\x00" * 5
            + b"\x01"
            + STREAM_GROUP
            + b"\x09"
            + PENDING
            + b"\x01"
            + text(b"c")
            + MS
            + MS
            + b"\x00",
        ),
        (22, b"\x01\x00" + text(b"f") + text(b"v")),
        (23, text(b"listpack")),
        (24, MS + b"\x02\x00" + text(b"f") + text(b"v") + b"\x81" + MS + text(b"g") + text(b"w")),
        (25, MS + text(b"listpack")),
    ],
)
def test_every_type_ends_where_the_next_key_begins(code: int, value: bytes) -> None:
    body = b"\xfe\x03" + bytes([code]) + text(b"one") + value + b"\xfc" + MS + b"\x00" + text(b"two") + text(b"v")
    keys, summary = read(rdb(body, version=12))
    assert [(key.db, key.name, key.expire_ms) for key in keys] == [(3, b"one", None), (3, b"two", 1_900_000_000_123)]
    assert (keys[0].type_code, keys[0].value) == (code, value)
    assert (summary.keys, summary.expiring, summary.checksum) == ({3: 2}, {3: 1}, "ok")


def test_what_stands_between_the_keys() -> None:
    body = (
        b"\xfa" + text(b"redis-ver") + text(b"7.0.15")
        + b"\xfa" + text(b"ctime") + b"\xc2\x00\x00\x00\x60"
        + b"\xf5" + text(b"library")
        + b"\xfe\x00\xfb\x03\x02\xf4\x01\x02\x03"
        + b"\xfd\x00\x00\x00\x70\xf8\x05\x00" + text(b"idle") + text(b"v")
        + b"\xf9\x09\x00" + text(b"frequent") + text(b"v")
        + b"\x00\xc3\x09\x08\x02aaa\x20\x00\x01zz" + text(b"v")
    )  # fmt: skip
    keys, summary = read(rdb(body, version=10))
    assert summary.aux == {"redis-ver": "7.0.15", "ctime": str(0x60000000)}
    assert summary.functions == [text(b"library")]
    assert [(key.expire_ms, key.idle, key.frequency) for key in keys[:2]] == [
        (0x70000000 * 1000, 5, None),
        (None, None, 9),
    ]
    assert keys[2].name == b"aaaaaazz"
    assert summary.fingerprint() == {
        "redis_version": "7.0.15",
        "rdb_version": 10,
        "checksum": "ok",
        "keys": {"0": 3},
        "expiring": {"0": 1},
        "functions": 1,
    }


def test_missing_checksum_is_said() -> None:
    assert read(rdb(b"", checksum=False))[1].checksum == "disabled"


def test_every_flipped_byte_is_noticed() -> None:
    good = rdb(
        b"\xfa" + text(b"k") + text(b"v") + b"\xfe\x00\xfb\x01\x00\x01" + text(b"list") + b"\x02" + text(b"a") * 2
    )
    for place in range(len(good)):
        for bit in (1, 16, 128):
            bad = bytearray(good)
            bad[place] ^= bit
            with pytest.raises((IntegrityError, StateError)):
                read(bytes(bad))


def test_every_truncation_is_noticed() -> None:
    good = rdb(b"\xfe\x00\x00" + text(b"key") + text(b"value"))
    for size in range(len(good)):
        with pytest.raises(IntegrityError, match=r"cut short|not an RDB"):
            read(good[:size])


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (rdb(b"") + b"\x00", IntegrityError, "follow the end"),
        (b"VALKEY080" + b"\xff" + b"\x00" * 8, IntegrityError, "Valkey 9"),
        (b"PK\x03\x04" + b"\x00" * 30, IntegrityError, "not an RDB file"),
        (rdb(b"", version=4), IntegrityError, "older than 5"),
        (rdb(b"\x1a" + text(b"secret-name") + text(b"v"), version=13), IntegrityError, "unknown type 26"),
        (rdb(b"\xf6" + text(b"f")), IntegrityError, "release candidates"),
        (rdb(b"\xf7\x81" + b"\x00" * 8), StateError, "module AAAAAAAAA version 0"),
        (rdb(b"\x00\xc7"), IntegrityError, "unknown string encoding 7"),
        (rdb(b"\x00\xc3\x02\x05\x20\x05" + text(b"v")), IntegrityError, "refers to bytes before"),
        (rdb(b"\x00\xc3\x03\x05\x01ab" + text(b"v")), IntegrityError, "2 bytes instead of 5"),
        (rdb(b"\x01\x82"), IntegrityError, "unknown length encoding"),
    ],
)
def test_refusals_name_the_cause_and_no_key(data: bytes, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        read(data)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("packed", "plain"),
    [
        (b"\x02abc", b"abc"),
        (b"\x00a\x20\x00", b"aaaa"),
        (b"\x01ab\xe0\x02\x01", b"ab" + b"ab" * 5 + b"a"),
    ],
)
def test_lzf(packed: bytes, plain: bytes) -> None:
    assert _rdb_values.lzf_decompress(packed, len(plain)) == plain
    for wrong in (packed[:-1], b"\x20\x10" + packed):
        with pytest.raises(ValueError, match="compressed string"):
            _rdb_values.lzf_decompress(wrong, len(plain))


def test_values_larger_than_any_buffer_are_whole_and_summed() -> None:
    large = random.Random(1).randbytes(3_300_000)
    body = b"".join(b"\x00" + text(b"key %d" % n) + b"\x80" + len(large).to_bytes(4, "big") + large for n in range(3))
    data = b"REDIS0009\xfe\x00" + body + b"\xff"
    reader = _rdb.RdbReader(io.BytesIO(data + crc64(data).to_bytes(8, "little")))
    assert [key.value[5:] == large for key in reader] == [True] * 3
    assert reader.summary.checksum == "ok"
    assert reader.summary.largest == len(large) + 5


def test_restore_command() -> None:
    command = _load.restore_command(_rdb.Key(0, b"name", 77, 0, b"\x01v", idle=3), 9)
    assert command[:3] == ("RESTORE", b"name", 77)
    assert command[4:] == ("REPLACE", "ABSTTL", "IDLETIME", 3)
    payload = command[3]
    assert isinstance(payload, bytes)
    assert payload[:-8] == b"\x00\x01v\x09\x00"
    assert int.from_bytes(payload[-8:], "little") == slow_crc64(payload[:-8])


def test_keys_that_expired_meanwhile_are_allowed_for_and_no_others() -> None:
    loaded = _load.Loaded(keys={0: 5})
    loaded.deadlines[0] = array("q", [100, 200, 300])
    assert loaded.expected(0, 200) == (3, 5)
    assert loaded.expected(1, 200) == (0, 0)
