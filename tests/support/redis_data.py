# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Awkward Redis content: every type in every encoding that the server has, binary names, expiries, functions."""

from __future__ import annotations

import random

from tests.support.redis import RedisServer, ServerError

LIBRARY = "#!lua name=recovery\nredis.register_function('answer', function() return 42 end)"


#: The databases besides 0 that ``fill`` writes to.
FURTHER = (1, 9)


def fill(server: RedisServer, more: int = 200) -> None:
    """Fill databases 0, 1 and 9 of *server*; *more* is the number of plain keys added."""
    _strings(server, more)
    _collections(server)
    _streams(server)
    _expiries(server)
    if server.version >= (7, 0):
        server.send("FUNCTION", "LOAD", "REPLACE", LIBRARY)
    if server.version >= (7, 4):
        _expiring_fields(server)


def _strings(server: RedisServer, more: int) -> None:
    noise = random.Random(7)
    values: dict[bytes, bytes] = {
        b"": b"the empty name",
        b"\x00\xff\r\n\x80 name": b"\x00\r\n\xff" * 3,
        b"name " * 100: b"a name that is compressed",
        b"12345": b"-1",
        b"int8": b"-128",
        b"int16": b"32767",
        b"int32": b"-2147483648",
        b"int64": b"9223372036854775807",
        b"empty": b"",
        b"63": b"x" * 63,
        b"64": noise.randbytes(64),
        b"16383": noise.randbytes(16383),
        b"16384": noise.randbytes(16384),
        b"compressible": b"authentik " * 50000,
        b"noise": noise.randbytes(3 << 20),
    }
    server.send_all([("SET", name, value) for name, value in values.items()])
    server.send_all(
        [("SET", ":1:authentik.core.%d" % n, noise.randbytes(noise.randrange(300))) for n in range(more)], db=1
    )
    server.send_all(
        [("SETRANGE", "gap", 70000, "end"), ("PFADD", "hll", "a", "b", "c"), ("SETBIT", "bits", 9, 1)], db=9
    )


def _collections(server: RedisServer) -> None:
    many = range(3000)
    server.send_all(
        [
            ("RPUSH", "list small", "1", "two", b"\xff\x00"),
            ("RPUSH", "list big", *("item %d" % n for n in many)),
            ("RPUSH", "list huge item", "a", "b" * 100000, "c"),
            ("SADD", "set ints", *range(-5, 300, 3)),
            ("SADD", "set wide ints", 1, 70000, 5000000000),
            ("SADD", "set small", "a", b"\x00"),
            ("SADD", "set big", *("member %d" % n for n in many)),
            ("ZADD", "zset small", 1, "a", "-inf", "b", "+inf", "c", "0.1", b"\xfe"),
            ("ZADD", "zset big", *(part for n in many for part in (repr(n / 7), "member %d" % n))),
            ("HSET", "hash small", "f", "v", b"\x00", b"\xff", "n", 12),
            ("HSET", "hash big", *(part for n in many for part in ("field %d" % n, "value %d" % n))),
            ("HSET", "hash long value", "f", "v" * 5000),
        ]
    )


def _streams(server: RedisServer) -> None:
    commands: list[tuple[str | bytes | int, ...]] = [
        ("XADD", "stream", "%d-%d" % (1000 + n, n % 3 + 1), "field", "value %d" % n, "other", b"\x00")
        for n in range(400)
    ]
    commands += [
        ("XGROUP", "CREATE", "stream", "workers", "0"),
        ("XGROUP", "CREATE", "stream", b"\xff group", "$"),
        ("XREADGROUP", "GROUP", "workers", "one", "COUNT", 50, "STREAMS", "stream", ">"),
        ("XREADGROUP", "GROUP", "workers", "two", "COUNT", 20, "STREAMS", "stream", ">"),
        ("XACK", "stream", "workers", "1000-1", "1001-2"),
        ("XDEL", "stream", "1005-3", "1399-1"),
        ("XADD", "emptied", "1-1", "a", "b"),
        ("XDEL", "emptied", "1-1"),
        ("XGROUP", "CREATE", "emptied", "g", "0"),
    ]
    server.send_all(commands)


def _expiries(server: RedisServer) -> None:
    now = server.time_ms()
    server.send_all([("SET", "session %d" % n, "s", "PX", 3600000 + n * 1000) for n in range(100)], db=1)
    server.send_all(
        [
            ("SET", "far", "away", "PXAT", now + 10**12),
            ("SADD", "expiring set", "a"),
            ("PEXPIREAT", "expiring set", now + 86400000),
        ],
        db=9,
    )


def _expiring_fields(server: RedisServer) -> None:
    fields = ["field %d" % n for n in range(1000)]
    try:
        server.send_all(
            [
                ("HSET", "hash fields", "a", 1, "b", 2),
                ("HPEXPIRE", "hash fields", 3600000, "FIELDS", 1, "a"),
                ("HSET", "hash many fields", *(part for name in fields for part in (name, "value"))),
                ("HPEXPIRE", "hash many fields", 7200000, "FIELDS", 500, *fields[:500]),
            ]
        )
    except ServerError as error:
        # Forks that call themselves 7.x may not have them.
        if "unknown command" not in str(error):
            raise
