# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Generated Redis content: every type on both sides of the sizes at which its encoding changes, names of any bytes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.properties.profiles import examples
from tests.support import in_process
from tests.support.redis import RedisServer
from tests.support.redis_module import RESTORE_ID, options_for

Command = tuple[str | bytes | int, ...]
DATABASES = (0, 1, 9)
#: Two readings of the clock lie between what is compared; every mistake with units is bigger than this.
TOLERANCE_MS = 60_000

short = st.binary(max_size=30)
integers = st.integers(-(2**63), 2**63 - 1).map(lambda number: b"%d" % number)
long = st.builds(lambda part, times: part * times, st.binary(min_size=1, max_size=9), st.sampled_from([8, 65, 3000]))
values = st.one_of(short, integers, long)
scores = st.floats(allow_nan=False).map(repr)
#: More members than any of the small encodings holds.
crowd = st.sampled_from([0, 0, 0, 600])


@st.composite
def writes(draw: st.DrawFn, name: bytes) -> list[Command]:
    """Commands that make one key."""
    kind = draw(st.sampled_from(["string", "list", "set", "ints", "zset", "hash", "stream", "bits"]))
    few = draw(st.lists(values, min_size=1, max_size=6))
    many = [b"member %d" % number for number in range(draw(crowd))]
    if kind == "string":
        return [("SET", name, few[0])]
    if kind == "bits":
        return [("SETRANGE", name, draw(st.sampled_from([3, 20_000])), few[0] or b"x"), ("PFADD", name + b"hll", *few)]
    if kind == "list":
        return [("RPUSH", name, *few, *many)]
    if kind == "set":
        return [("SADD", name, *few, *many)]
    if kind == "ints":
        return [("SADD", name, *draw(st.lists(integers, min_size=1, max_size=6)), *range(draw(crowd)))]
    if kind == "zset":
        return [("ZADD", name, draw(scores), member) for member in [*few, *many]]
    if kind == "hash":
        return [("HSET", name, member, draw(short)) for member in [*few, *many]]
    return [("XADD", name, "%d-1" % (number + 1), member, b"\x00") for number, member in enumerate([*few, *many])] + [
        ("XGROUP", "CREATE", name, few[0] or b"g", "0"),
        ("XREADGROUP", "GROUP", few[0] or b"g", "consumer", "COUNT", 2, "STREAMS", name, ">"),
    ]


@st.composite
def contents(draw: st.DrawFn) -> dict[int, list[Command]]:
    """Commands per database."""
    made: dict[int, list[Command]] = {}
    for database in draw(st.lists(st.sampled_from(DATABASES), unique=True)):
        names = draw(st.lists(st.one_of(short, long), unique=True, max_size=6))
        for name in names:
            made.setdefault(database, []).extend(draw(writes(b"%s.%d" % (name, names.index(name)))))
            if draw(st.booleans()):
                ttl = draw(st.integers(3_600_000, 10**12))
                made[database].append(("PEXPIRE", b"%s.%d" % (name, names.index(name)), ttl))
    return made


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


def seen(server: RedisServer) -> tuple[dict[tuple[int, bytes], object], dict[tuple[int, bytes], int]]:
    """Return what the server says of every key: its value by DUMP, and its expiry in ms since 1970, -1 for none."""
    found = {key: value for key, (value, _expiry) in server.content().items()}
    expiries = {}
    for database, name in found:
        left = server.send("PTTL", name, db=database)
        assert isinstance(left, int)
        expiries[(database, name)] = server.time_ms() + left if left >= 0 else -1
    return found, expiries


@examples(25)
@given(contents())
@example({})
@example({0: [("SET", b"", b"")], 9: [("SET", b"\xff\x00\r\n", b"x" * (1 << 20))]})
def test_redis_comes_back(server: RedisServer, content: dict[int, list[Command]]) -> None:
    server.send("FLUSHALL")
    for database, commands in content.items():
        server.send_all(commands, db=database)
    values_before, expiries_before = seen(server)
    options = {**in_process.NO_INSTANCE, **options_for(server)}
    work = Path(tempfile.mkdtemp())
    try:
        saved, _instance = in_process.run("redis_snapshot", {**options, "dest": str(work), "method": "replication"})
        in_process.write_manifest(work, saved["components"])
        server.send_all([("FLUSHALL",), ("SET", "grown", "since"), ("RPUSH", "1.0", "since")])
        step = {**options, "src": str(work), "restore_id": RESTORE_ID, "work_dir": str(work / "kept")}
        for name in ("check", "prepare", "swap"):
            in_process.run("redis_restore", {**step, "step": name, "redis_databases": list(DATABASES)})
    finally:
        shutil.rmtree(work)
    values_after, expiries_after = seen(server)
    assert values_after == values_before
    for key, expiry in expiries_before.items():
        assert (expiries_after[key] < 0) == (expiry < 0)
        assert abs(expiries_after[key] - expiry) < TOLERANCE_MS
