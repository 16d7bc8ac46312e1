# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Login settings for libpq's programs, streams that end too early, and the comparison of two fingerprints."""

from __future__ import annotations

import copy
import shutil
import subprocess
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import PostgresSettings
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import _connection, _fingerprint
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._stream_end import (
    CustomArchive,
    ZstdFrames,
)


@pytest.mark.parametrize(
    ("password", "line"),
    [
        ("plain", b"*:*:*:*:plain\n"),
        ("a:b\\c", b"*:*:*:*:a\\:b\\\\c\n"),
        ("#'\" $&;%", b"*:*:*:*:#'\" $&;%\n"),
        ("ü€😀", "*:*:*:*:ü€😀\n".encode()),
        ("", b"*:*:*:*:\n"),
    ],
)
def test_passfile_line(password: str, line: bytes) -> None:
    assert _connection.passfile_line(password) == line


@pytest.mark.parametrize("password", ["a\nb", "a\n", "a\rb", "a\0b"])
def test_password_that_no_file_can_hold_is_refused_without_being_shown(password: str) -> None:
    with pytest.raises(InputError) as caught:
        _connection.passfile_line("hunter2" + password)
    assert "line break" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_environment_of_the_programs() -> None:
    settings = PostgresSettings(
        "db.example.org", 6432, "authentik", "ak", "secret", "verify-full", "/ca.pem", "/cert.pem", "/key.pem"
    )
    assert _connection.libpq_environment(settings, "other") == {
        "PGHOST": "db.example.org",
        "PGPORT": "6432",
        "PGUSER": "ak",
        "PGDATABASE": "other",
        "PGAPPNAME": "authentik_ops.recovery",
        "PGCLIENTENCODING": "UTF8",
        "PGCONNECT_TIMEOUT": "15",
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "/ca.pem",
        "PGSSLCERT": "/cert.pem",
        "PGSSLKEY": "/key.pem",
    }


def test_no_password_leaves_the_users_own_password_file_in_force() -> None:
    with _connection.Connection(PostgresSettings("/run/pg", 5432, "authentik", "ak")) as connection:
        command = connection.command(["psql"])
        assert command.pass_fds == ()
        assert "PGPASSFILE" not in (command.env or {})


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ('FATAL:  password authentication failed for user "ak"', "password is wrong"),
        ('FATAL:  database "x" does not exist', "name is wrong"),
        ("connection refused\n\tIs the server running", "no server listens there"),
        ("fe_sendauth: no password supplied", "postgresql_password"),
        ('FATAL:  Peer authentication failed for user "ak"', "postgresql_run_as"),
        ("FATAL:  sorry, too many clients already", "max_connections"),
        ("server does not support SSL, but SSL was required", "postgresql_sslmode"),
        ("timeout expired", "firewalls"),
    ],
)
def test_refused_connections_say_where_and_what_to_do(said: str, hint: str) -> None:
    settings = PostgresSettings("db", 5432, "authentik", "ak", "secret", run_as="postgres")
    error = _connection.connect_error(settings, None, said)
    assert "database authentik on db port 5432 as role ak" in error.cause
    assert hint in error.hint
    assert error.command.endswith("sudo -u postgres psql -h db -p 5432 -U ak -d authentik -c 'SELECT 1'")
    assert "secret" not in str(error)


def zstd(data: bytes, *options: str) -> bytes:
    program = shutil.which("zstd")
    if program is None:
        # One frame, no checksum, one raw block: what the format's description says, by hand.
        return b"\x28\xb5\x2f\xfd\x00\x58" + (len(data) << 3 | 1).to_bytes(3, "little") + data
    return subprocess.run([program, "-q", "-c", *options], input=data, capture_output=True, check=True).stdout


def problem(check: Any, data: bytes, step: int) -> str | None:
    for start in range(0, len(data), step):
        check.feed(data[start : start + step])
    found: str | None = check.problem()
    return found


@pytest.mark.parametrize("options", [(), ("-1", "--no-check"), ("-19",)])
@pytest.mark.parametrize("data", [b"x", bytes(40000), bytes(range(256)) * 60], ids=["tiny", "zeros", "bytes"])
def test_zstd_stream_is_whole_only_at_its_end(options: tuple[str, ...], data: bytes) -> None:
    stream = zstd(data, *options)
    for step in (1, 7, 1 << 20):
        assert problem(ZstdFrames(), stream, step) is None
        assert problem(ZstdFrames(), stream + stream, step) is None
    for end in range(1, len(stream), max(1, len(stream) // 50)):
        assert problem(ZstdFrames(), stream[:end], 1 << 20) is not None
    assert problem(ZstdFrames(), stream[:-1], 5) == "it ends within a zstd frame"
    assert problem(ZstdFrames(), stream + b"trailing", 1 << 20) is not None
    assert problem(ZstdFrames(), b"", 1) == "it holds no zstd frame"


@pytest.mark.parametrize(
    ("data", "has_data", "found"),
    [
        (b"PGDMP toc and data" + bytes(5), True, None),
        (b"PGDMP toc and data cut he", True, "it does not end with the terminator of the last table's data"),
        (b"PGDMP toc alone", False, None),
        (b"pg_dump: wrapper says hello PGDMP" + bytes(5), True, "it does not begin as an archive of pg_dump"),
        (b"", True, "it does not begin as an archive of pg_dump"),
    ],
)
def test_archive_is_whole_only_with_both_ends(data: bytes, has_data: bool, found: str | None) -> None:
    for step in (1, 3, 100):
        assert problem(CustomArchive(has_data), data, step) == found


def number(value: int) -> bytes:
    return bytes([value < 0]) + abs(value).to_bytes(4, "little")


def string(text: str | None) -> bytes:
    return number(-1) if text is None else number(len(text)) + text.encode()


def custom_archive(version: int, tables: int) -> bytes:
    """What pg_dump 13, 16 and 17 write (1.14, 1.15, 1.16): a table of contents, then a block for each table."""
    compression = b"\2" if version >= 15 else number(1)
    head = b"PGDMP" + bytes([1, version, 0, 4, 8, 1]) + compression + b"".join(map(number, (0, 0, 12, 24, 10, 126, 0)))
    head += string("authentik") + string("15.18") + string("15.18") + number(2 * tables)
    for entry in range(2 * tables):
        head += number(256 + entry) + number(entry % 2) + string("1259") + string("0") + string("t") + string("TABLE")
        head += number(2) + string("CREATE TABLE t ();\n") + string("") + string(None) * 4
        head += (number(114) if version >= 16 else b"") + string("authentik") + string("false")
        head += string("255") + string("0") + string(None) + b"\1" + bytes(8)
    blocks = b"".join(b"\1" + number(257 + 2 * table) + string("1\tx\n") * table + number(0) for table in range(tables))
    return head + blocks


@pytest.mark.parametrize("version", [14, 15, 16])
def test_an_archive_cut_anywhere_is_not_whole(version: int) -> None:
    archive = custom_archive(version, 4)
    for step in (1, 7, 1 << 20):
        assert problem(CustomArchive(True), archive, step) is None
    # Most of all where five zero bytes happen to come last, as they do all over the table of contents.
    assert archive.count(bytes(5)) > 20
    for end in range(len(archive)):
        assert problem(CustomArchive(True), archive[:end], 1 << 20) is not None, end


def test_an_archive_without_data_is_whole_with_its_contents() -> None:
    archive = custom_archive(14, 0)
    assert problem(CustomArchive(False), archive, 5) is None
    assert problem(CustomArchive(True), archive, 5) == "it holds no table's data"
    assert problem(CustomArchive(False), archive[:-1], 5) == "it ends within its table of contents"


FINGERPRINT: dict[str, Any] = {
    "digest_formula": "f",
    "server_version": 160014,
    "encoding": "UTF8",
    "collation": "C.UTF-8",
    "owner": "authentik",
    "settings": [],
    "schemas": ["public"],
    "extensions": [{"name": "plpgsql", "version": "1.0"}],
    "large_objects": {"number": 0, "digest": "0"},
    "tables": {
        "public.a": {"rows": 2, "digest": "17", "data": "included"},
        "public.b": {"rows": 0, "digest": "0", "data": "excluded"},
    },
    "sequences": {
        "public.still": {"last_value": 7, "is_called": True},
        "public.moved": {
            "last_value": 12,
            "is_called": True,
            "earliest": {"last_value": 10, "is_called": True},
        },
    },
    "matviews": {"public.m": {"rows": 1, "digest": "5", "populated": True, "owner": "authentik", "stale": False}},
    "counts": {"public": {"tables": 2, "indexes": 3}},
}


def restored() -> dict[str, Any]:
    actual = copy.deepcopy(FINGERPRINT)
    actual["sequences"]["public.moved"] = {"last_value": 11, "is_called": True}
    actual["tables"]["public.b"]["data"] = "included"
    return actual


def test_a_restored_database_may_be_newer_and_hold_a_moving_sequence_in_between() -> None:
    actual = restored()
    actual.update(server_version=180004, collation="en_US.UTF-8", extensions=[{"name": "plpgsql", "version": "2"}])
    assert _fingerprint.compare(FINGERPRINT, actual) == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("tables", "public.a", "rows"), 1, "table public.a: expected rows 2, digest 17, found rows 1, digest 17"),
        (("tables", "public.a", "digest"), "18", "table public.a: expected rows 2, digest 17, found rows 2, digest 18"),
        (("tables", "public.b", "rows"), 3, "table public.b: expected rows 0, digest 0, found rows 3, digest 0"),
        (("tables", "public.a"), None, "table public.a: expected present, found absent"),
        (("tables", "public.c"), {"rows": 0, "digest": "0"}, "table public.c: expected absent, found present"),
        (("sequences", "public.still", "last_value"), 1, "sequence public.still: expected last_value 7"),
        (("sequences", "public.still", "is_called"), False, "sequence public.still"),
        (("sequences", "public.moved", "last_value"), 9, "sequence public.moved"),
        (("sequences", "public.moved", "last_value"), 13, "sequence public.moved"),
        (("sequences", "public.moved", "is_called"), False, "sequence public.moved"),
        (("sequences", "public.still"), None, "sequence public.still: expected present, found absent"),
        (("matviews", "public.m", "digest"), "6", "matview public.m"),
        (("matviews", "public.m", "populated"), False, "matview public.m"),
        (("matviews", "public.m", "owner"), "postgres", "matview public.m"),
        (("matviews", "public.m", "stale"), True, "matview public.m: expected what its query gives"),
        (("counts", "public", "indexes"), 2, "indexes in schema public: expected 3, found 2"),
        (("schemas",), ["public", "template"], "database schemas"),
        (("settings",), [{"role": None, "name": "search_path", "value": "x"}], "database settings"),
        (("extensions",), [], "database extensions"),
        (("owner",), "postgres", "database owner: expected authentik, found postgres"),
        (("encoding",), "LATIN1", "database encoding"),
        (("large_objects",), {"number": 1, "digest": "3"}, "database large objects"),
        (("digest_formula",), "g", "digest formula: expected f, found g"),
    ],
)
def test_every_difference_is_named(path: tuple[str, ...], value: Any, said: str) -> None:
    actual = restored()
    place = actual
    for name in path[:-1]:
        place = place[name]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    differences = [str(difference) for difference in _fingerprint.compare(FINGERPRINT, actual)]
    assert len(differences) == 1
    assert differences[0].startswith(said)


def test_sequences_that_moved_during_the_dump_keep_both_readings() -> None:
    before = {"s.a": {"last_value": 1, "is_called": False}, "s.b": {"last_value": 5, "is_called": True}}
    after = {"s.a": {"last_value": 3, "is_called": True}, "s.b": {"last_value": 5, "is_called": True}}
    assert _fingerprint.merge_sequences(before, after) == {
        "s.a": {"last_value": 3, "is_called": True, "earliest": {"last_value": 1, "is_called": False}},
        "s.b": {"last_value": 5, "is_called": True},
    }
