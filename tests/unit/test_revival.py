# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a restore brings back to life: rows out of COPY text, and two sides compared."""

from __future__ import annotations

import datetime
import math
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import (
    _copy_text,
    _revival,
    _revival_read,
    _revival_sides,
)

NOW = 1_000_000.0
USER, GROUP, TOKEN, LOGIN = _revival_sides.USER, _revival_sides.GROUP, _revival_sides.TOKEN, _revival_sides.LOGIN
ACCESS, PROXY = "authentik_providers_oauth2_accesstoken", "authentik_providers_proxy_proxysession"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"plain", "plain"),
        (b"", ""),
        (b"\\N", None),
        (b"\\\\N", "\\N"),
        (b"\\\\", "\\"),
        (b"a\\tb\\nc\\rd\\be\\ff\\vg", "a\tb\nc\rd\be\ff\vg"),
        (b"\\\\t", "\\t"),
        (b"\\\\\\t", "\\\t"),
        (b"\\x41\\101\\7", "AA\x07"),
        (b"\\q\\.", "q."),
        (b'{"a": "\\\\n"}', '{"a": "\\n"}'),
        ("Grüße 👩‍👩‍👧".encode(), "Grüße 👩‍👩‍👧"),
    ],
)
def test_a_field_of_copy_text(field: bytes, value: str | None) -> None:
    assert _copy_text.unescape(field) == value


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-11-23 15:10:29.840772+00", "2026-11-23T15:10:29.840772+00:00"),
        ("2026-11-23 15:10:29+02", "2026-11-23T13:10:29+00:00"),
        ("2026-11-23 15:10:29-03:30", "2026-11-23T18:40:29+00:00"),
        ("1850-01-01 00:00:00+00:53:28", "1849-12-31T23:06:32+00:00"),
    ],
)
def test_a_moment_of_copy_text(text: str, utc: str) -> None:
    assert _copy_text.moment(text) == datetime.datetime.fromisoformat(utc).timestamp()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("infinity", math.inf),
        ("-infinity", -math.inf),
        ("12026-01-01 00:00:00+00", math.inf),
        ("0044-03-15 12:00:00+00 BC", -math.inf),
        ("tomorrow", None),
        ("2026-11-23", None),
    ],
)
def test_a_moment_without_a_date(text: str, value: float | None) -> None:
    assert _copy_text.moment(text) == value


SQL = (
    b"SET row_security = off;\n"
    b'COPY "we.ird ""x"""."Odd, one" (a, "b c", "d""e") FROM stdin;\n1\t2\t3\n\\.\n'
    b"COPY public.wanted (id, secret, name) FROM stdin;\n"
    b"1\tCOPY public.wanted (id) FROM stdin;\tone\\ttab\n"
    b"2\tx\t\\N\n"
    b"\\\\.\ty\tno end\n"
    b"\\.\n"
    b"COPY public.empty (id) FROM stdin;\n\\.\n"
    b"COPY t_acme.wanted (name, id) FROM stdin;\nthree\t3\n\\.\n"
)


@pytest.mark.parametrize("size", [1, 2, 7, 64, 10_000])
def test_rows_whatever_the_pieces(size: int) -> None:
    taken: list[Any] = []
    rows = _copy_text.CopyRows(
        {"wanted": ["id", "name", "gone"], "Odd, one": ["b c", 'd"e']}, lambda *row: taken.append(row)
    )
    for start in range(0, len(SQL), size):
        rows.feed(SQL[start : start + size])
    assert taken == [
        ('we.ird "x"', "Odd, one", {"b c": "2", 'd"e': "3"}),
        ("public", "wanted", {"id": "1", "name": "one\ttab"}),
        ("public", "wanted", {"id": "2", "name": None}),
        ("public", "wanted", {"id": "\\.", "name": "no end"}),
        ("t_acme", "wanted", {"id": "3", "name": "three"}),
    ]
    assert rows.columns["public", "empty"] == ["id"]
    assert rows.problem() is None


def test_text_that_ends_within_rows_is_not_whole() -> None:
    rows = _copy_text.CopyRows({"wanted": ["id"]}, lambda *_row: None)
    rows.feed(SQL[: SQL.index(b"\\\\.")])
    assert "public.wanted" in str(rows.problem())


def user(number: int, active: bool = True, **more: Any) -> tuple[str, dict[str, Any]]:
    """Return a row of a user ``u<number>``."""
    return USER, {
        "id": str(number), "uuid": "uuid-%d" % number, "username": "u%d" % number, "is_active": active,
        "password_change_date": 10.0, **more,
    }  # fmt: skip


def token(name: str, owner: int, **more: Any) -> tuple[str, dict[str, Any]]:
    return TOKEN, {
        "token_uuid": "uuid " + name, "identifier": name, "intent": "api", "user_id": str(owner), "key": "k",
        "expires": None, "expiring": False, **more,
    }  # fmt: skip


def group(name: str, superuser: bool = False, parent: str | None = None) -> tuple[str, dict[str, Any]]:
    return GROUP, {"group_uuid": name, "is_superuser": superuser, "parent_id": parent}


def member(owner: int, name: str, table: str = "authentik_core_user_ak_groups") -> tuple[str, dict[str, Any]]:
    return table, {"user_id": str(owner), "group_id": name}


def login(name: str, owner: int, session: str | None = None) -> tuple[str, dict[str, Any]]:
    return LOGIN, {"uuid": name, "user_id": str(owner), "session_id": session or name}


def session(name: str, expires: float | None = NOW + 1, expiring: bool = True) -> tuple[str, dict[str, Any]]:
    return _revival_sides.SESSION, {"session_key": name, "expires": expires, "expiring": expiring}


def access(number: int, owner: int, **more: Any) -> tuple[str, dict[str, Any]]:
    row = {"id": str(number), "token": "t%d" % number, "user_id": str(owner), "revoked": False, "expires": NOW + 1}
    return ACCESS, {**row, "expiring": True, **more}


def side(*rows: tuple[str, dict[str, Any]], without: tuple[str, ...] = ()) -> _revival_sides.Snapshot:
    """Return a side that has all tables with all columns but those of ``without``, and these rows."""
    snapshot = _revival_sides.Snapshot(NOW)
    for table, columns in _revival_sides.TABLES.items():
        if table not in without:
            snapshot.offer(table, columns)
    for table, row in rows:
        snapshot.add(table, row)
    return snapshot


def found(was: _revival_sides.Snapshot, now: _revival_sides.Snapshot) -> dict[str, Any]:
    """Return what is reported, by key: the names, or the count where there are none."""
    report = _revival.compare(was, now)
    said = {
        key: report[key]["names"] or report[key]["count"]
        for key, _sentence in _revival.SENTENCES
        if report[key]["count"]
    }
    return {**said, **({"not_compared": report["not_compared"]} if report["not_compared"] else {})}


CASES: list[tuple[str, list[Any], list[Any], dict[str, Any]]] = [
    ("nothing changed", [user(1), token("a", 1)], [user(1), token("a", 1)], {}),
    ("disabled since", [user(1), user(2)], [user(1, False), user(2)], {"users_active_again": ["u1"]}),
    ("enabled since", [user(1, False)], [user(1)], {}),
    ("removed since", [user(1), user(2, False)], [], {"users_returning": ["u1", "u2, disabled"]}),
    ("created since", [], [user(3)], {"users_vanishing": ["u3"]}),
    (
        "the number was given again",
        [user(1)],
        [user(1, uuid="other", username="new")],
        {"users_returning": ["u1"], "users_vanishing": ["new"]},
    ),
    ("renamed since", [user(1)], [user(1, username="married")], {}),
    (
        "password changed",
        [user(1), user(2, False)],
        [user(1, password_change_date=11.0), user(2, False, password_change_date=11.0)],
        {"passwords": ["u1"]},
    ),
    ("password set back by an earlier restore", [user(1)], [user(1, password_change_date=9.0)], {}),
    (
        "superuser demoted",
        [user(1), group("a", True), member(1, "a")],
        [user(1), group("a", True)],
        {"superusers_gained": ["u1"]},
    ),
    (
        "superuser promoted",
        [user(1), group("a", True)],
        [user(1), group("a", True), member(1, "a")],
        {"superusers_lost": ["u1"]},
    ),
    (
        "group lost its powers",
        [user(1), group("a", True), member(1, "a")],
        [user(1), group("a"), member(1, "a")],
        {"superusers_gained": ["u1"]},
    ),
    (
        "by a parent's parent",
        [
            user(1),
            group("a"),
            group("b", parent="c"),
            group("c", True),
            member(1, "a"),
            ("authentik_core_groupparentage", {"child_id": "a", "parent_id": "b"}),
        ],
        [user(1)],
        {"superusers_gained": ["u1"]},
    ),
    (
        "a child's powers are not its parent's",
        [user(1), group("a"), group("b", True, parent="a"), member(1, "a")],
        [user(1)],
        {},
    ),
    (
        "groups in a ring",
        [user(1), group("a", parent="b"), group("b", True, parent="a"), member(1, "a")],
        [user(1), group("b", True), member(1, "b", "authentik_core_user_groups")],
        {},
    ),
    (
        "a disabled superuser",
        [user(1), group("a", True), member(1, "a")],
        [user(1, False), group("a", True), member(1, "a")],
        {"users_active_again": ["u1"], "superusers_gained": ["u1"]},
    ),
    ("token revoked", [user(1), token("a", 1), token("b", 1)], [user(1), token("b", 1)], {"tokens": ["a of u1"]}),
    (
        "token expired by hand",
        [user(1), token("a", 1, expires=NOW + 9, expiring=True)],
        [user(1), token("a", 1, expires=NOW - 9, expiring=True)],
        {"tokens": ["a of u1"]},
    ),
    ("token over in the set, too", [user(1), token("a", 1, expires=NOW, expiring=True)], [user(1)], {}),
    ("an expiry that does not count", [user(1), token("a", 1, expires=NOW - 9)], [user(1)], {"tokens": ["a of u1"]}),
    ("token with a new key", [user(1), token("a", 1)], [user(1), token("a", 1, key="other")], {"tokens": ["a of u1"]}),
    ("app password", [user(1), token("a", 1, intent="app_password")], [user(1)], {"app_passwords": ["a of u1"]}),
    ("token of a user who is disabled in the set", [user(1, False), token("a", 1)], [user(1, False)], {}),
    ("token of nobody", [token("a", 7)], [], {"tokens": ["a of nobody"]}),
    (
        "session ended",
        [user(1), login("s", 1), session("s"), login("t", 1), session("t")],
        [user(1), login("t", 1), session("t")],
        {"sessions": ["u1"]},
    ),
    ("session over in the set, too", [user(1), login("s", 1), session("s", NOW - 1)], [user(1)], {}),
    (
        "session that never ends",
        [user(1), login("s", 1), session("s", NOW - 1, False), login("t", 1), session("t", None)],
        [user(1)],
        {"sessions": ["u1 2 times"]},
    ),
    (
        "bare session",
        [
            ("django_session", {"session_key": "a", "expire_date": NOW + 1}),
            ("django_session", {"session_key": "b", "expire_date": NOW - 1}),
        ],
        [],
        {"bare_sessions": 1},
    ),
    (
        "access tokens",
        [user(1), access(1, 1), access(2, 1), access(3, 1, revoked=True), access(4, 1, expires=NOW - 1)],
        [user(1), access(2, 1, revoked=True)],
        {"grants": ["2 OAuth2 access tokens"]},
    ),
    (
        "an access token with the number of another",
        [user(1), access(1, 1)],
        [user(1), access(1, 1, token="x")],
        {"grants": ["1 OAuth2 access tokens"]},
    ),
    (
        "proxy session",
        [(PROXY, {"uuid": "p", "expires": None, "expiring": True})],
        [],
        {"grants": ["1 proxy sessions"]},
    ),
]


@pytest.mark.parametrize(("was", "now", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_comes_back(was: list[Any], now: list[Any], expected: dict[str, Any]) -> None:
    assert found(side(*was), side(*now)) == expected


@pytest.mark.parametrize(
    ("was", "now", "reasons"),
    [
        (side(without=(LOGIN,)), side(), ["sessions: the set has no table " + LOGIN]),
        (side(), side(without=(TOKEN,)), ["tokens and app passwords: the present database has no table " + TOKEN]),
        (
            side(without=_revival_sides.MEMBERSHIPS),
            side(),
            ["superusers: the set has no table authentik_core_user_ak_groups"],
        ),
        (side(without=(_revival_sides.MEMBERSHIPS[1], _revival_sides.PARENTAGE)), side(), []),
        (side(), side(without=(ACCESS,)), []),
        (
            side(access(1, 1)),
            side(without=(ACCESS,)),
            ["OAuth2 access tokens: the present database has no table " + ACCESS],
        ),
        (
            side(without=(USER,)),
            side(),
            [
                "users: the set has no table " + USER,
                "changed passwords: the set has no table " + USER,
                "superusers: the set has no table " + USER,
            ],
        ),
    ],
)
def test_what_cannot_be_compared_is_said(
    was: _revival_sides.Snapshot, now: _revival_sides.Snapshot, reasons: list[str]
) -> None:
    report = _revival.compare(was, now)
    assert report["not_compared"] == reasons
    assert [line for line in _revival.sentences(report) if "not compared" in line] == [
        "not compared: " + r for r in reasons
    ]


def test_a_table_without_a_column_or_its_rows_is_not_taken_for_empty() -> None:
    was, now = side(user(1), token("a", 1), without=(TOKEN, USER)), side(user(1))
    assert not was.offer(TOKEN, ["token_uuid", "identifier", "user_id", "key"])
    assert was.offer(USER, ["id", "uuid", "username", "is_active"])
    now.problems[LOGIN] = "may not be read by the role that was used"
    assert _revival.compare(was, now)["not_compared"] == [
        "changed passwords: the set: authentik_core_user has no column password_change_date",
        "tokens and app passwords: the set: authentik_core_token has no column intent",
        "sessions: the present database: authentik_core_authenticatedsession may not be read by the role that was used",
    ]


def test_many_names_are_cut_and_counted() -> None:
    report = _revival.compare(side(*(user(number) for number in range(100, 151))), side())
    assert report["users_returning"]["count"] == 51
    assert len(report["users_returning"]["names"]) == 20
    line = _revival.sentences(report)[0]
    assert line.startswith("users removed since, who come back: 51 (u100, u101, ")
    assert line.endswith("u119 and 31 more)")


def test_a_name_cannot_pretend_to_be_a_line() -> None:
    named = _revival.name_some(["Zoë Müller", "a\n- nothing", "b\u202e\x1b[31m"])
    assert _revival.list_some(named) == "3 (Zoë Müller, a?- nothing, b??[31m)"


@pytest.mark.parametrize("columns", [[["uuid", "session_key"]], [["session_id"], ["uuid"]]])
def test_sessions_that_are_not_in_the_database_are_told_of(columns: list[list[str]]) -> None:
    assert "Redis, which is not emptied" in _revival_read.redis_holds_sessions(columns)[0]
    assert _revival_read.redis_holds_sessions([["session_id", "uuid"]]) == []


def test_who_is_kept_disabled() -> None:
    was = side(user(1), user(2), user(3), user(4, False), group("a", True), member(1, "a"))
    now = side(user(1), user(2, False), user(4, False), user(5))
    kept = _revival.to_disable(was, now)
    assert kept == {"uuid-2": "u2", "uuid-3": "u3"}
    assert not _revival.locks_everybody_out(was, kept)
    assert _revival.locks_everybody_out(was, _revival.to_disable(was, side(user(1, False))))
    assert not _revival.locks_everybody_out(side(user(1)), {"uuid-1"}), "there was no superuser before"


def test_keys_do_not_stay_in_memory_as_they_are() -> None:
    row = _revival_sides.from_text(TOKEN, {"key": "the secret", "expiring": "f", "expires": "tomorrow", "intent": None})
    assert row == {"key": row["key"], "expiring": False, "expires": math.inf, "intent": None}
    assert "secret" not in row["key"]
    assert row["key"] == _revival_sides.digest("the secret") != _revival_sides.digest("the secrets")


def test_schemas_are_those_with_users() -> None:
    names = [
        "public.authentik_core_user",
        "template.authentik_core_user",
        '"t ""x""".authentik_core_user',
        "t_a.other_authentik_core_user",
    ]
    assert _revival_read.schemas_of(names) == ["public", 't "x"']
