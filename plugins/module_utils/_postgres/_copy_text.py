# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Rows out of the text that ``pg_restore`` makes of an archive: its COPY blocks, read while they pass. Pure.

Never more than one row is held, and of that only the columns that were asked for are handed on.
"""

from __future__ import annotations

import datetime
import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Callable, Mapping, Sequence

_NAME = r'"(?:[^"]|"")+"|[^\s".,()]+'
_HEADER = re.compile(r"COPY ({0})\.({0}) \((.*)\) FROM stdin;\Z".format(_NAME))
_END = b"\\."
_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|(.))", re.DOTALL)
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_MOMENT = re.compile(r"(\d{4,})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d(?:\.\d+)?)([+-]\d\d)(?::(\d\d))?(?::(\d\d))?( BC)?\Z")
_EPOCH = datetime.datetime(1970, 1, 1)


class CopyRows:
    """Takes the text piece by piece and gives the wanted columns of each row to a function.

    :param wanted: names of columns by the name of their table, without its schema.
    :param take: called with schema, table and the row: the text of each wanted column that the table has, or None.
    :ivar columns: the columns of each table that was met, by (schema, table).
    """

    def __init__(
        self,
        wanted: Mapping[str, Sequence[str]],
        take: Callable[[str, str, dict[str, str | None]], None],
    ) -> None:
        self.columns: dict[tuple[str, str], list[str]] = {}
        self._wanted = wanted
        self._take = take
        self._begun: list[bytes] = []
        self._table: tuple[str, str] | None = None
        self._places: list[tuple[int, str]] = []
        self._in_rows = False

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        first, *others = data.split(b"\n")
        self._begun.append(first)
        for line in others:
            self._line(b"".join(self._begun))
            self._begun = [line]

    def problem(self) -> str | None:
        """Return why the text is not whole, None when it does not end within the rows of a table."""
        return "it ends within the rows of %s.%s" % self._table if self._in_rows and self._table else None

    def _line(self, line: bytes) -> None:
        if not self._in_rows:
            if line.startswith(b"COPY "):
                self._begin(line.decode("utf-8", "replace"))
        elif line == _END:
            self._in_rows = False
        elif self._table is not None and self._places:
            fields = line.split(b"\t")
            schema, table = self._table
            self._take(schema, table, {name: unescape(fields[place]) for place, name in self._places})

    def _begin(self, line: str) -> None:
        found = _HEADER.match(line)
        if found is None:
            return
        schema, table, listed = found.groups()
        columns = [unquote(name) for name in re.findall(_NAME, listed)]
        self._table = (unquote(schema), unquote(table))
        self._in_rows = True
        self.columns[self._table] = columns
        wanted = self._wanted.get(self._table[1], ())
        self._places = [(columns.index(name), name) for name in wanted if name in columns]


def unescape(field: bytes) -> str | None:
    """Return the value of one field of COPY's text format, None for NULL."""
    if field == b"\\N":
        return None
    text = field.decode("utf-8", "replace")
    return _ESCAPE.sub(_plain, text) if "\\" in text else text


def _plain(found: re.Match[str]) -> str:
    octal, hexadecimal, letter = found.groups()
    if letter is not None:
        return _ESCAPED.get(letter, letter)
    return chr(int(octal, 8) & 0xFF if octal else int(hexadecimal, 16))


def unquote(name: str) -> str:
    """Return the name that an SQL identifier stands for."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def moment(text: str) -> float | None:
    """Return the seconds since 1970 of a ``timestamptz`` as dumps have it, None when it is of another form.

    The infinities are numbers too; so is everything after the year 9999, as if it were never.
    """
    if text in ("infinity", "-infinity"):
        return float(text.replace("inity", ""))
    found = _MOMENT.match(text)
    if found is None:
        return None
    year, month, day, hour, minute, seconds, zone, zone_minutes, zone_seconds, era = found.groups()
    if era or int(year) > datetime.MAXYEAR:
        return -math.inf if era else math.inf
    offset = datetime.timedelta(minutes=int(zone_minutes or 0), seconds=int(zone_seconds or 0))
    offset = datetime.timedelta(hours=abs(int(zone))) + offset
    local = datetime.datetime(int(year), int(month), int(day), int(hour), int(minute))
    utc = local + offset if zone.startswith("-") else local - offset
    return (utc - _EPOCH).total_seconds() + float(seconds)
