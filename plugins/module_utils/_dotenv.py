# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Docker Compose's ``.env`` files: values written as Compose reads them back, and changed without touching the rest.

Compose reads a value without quotes up to `` #``, and one in double quotes with its escapes, and replaces ``$NAME`` in
both. In single quotes everything stands for itself.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+=,~^-]+")
_BLANK = " \t\v\f\r\x85\xa0"
_KEY_CHARACTERS = "_.-[]"
_EXPORT = re.compile(r"export[%s]+" % _BLANK)
_ESCAPES = {"\\": "\\\\", '"': '\\"', "$": "\\$", "\n": "\\n", "\r": "\\r"}
_BOM = "\ufeff"


class Assignment(NamedTuple):
    """Where a variable gets its value.

    :ivar start: of the value, quotes included; for a bare name, which takes the shell's value, the end of the name.
    """

    name: str
    start: int
    end: int
    bare: bool = False


def check_names(names: Mapping[str, object]) -> None:
    """Raise InputError for a name that cannot be a variable's."""
    for name in names:
        if not _NAME.fullmatch(name):
            raise InputError(
                "%r cannot be the name of a variable in .env" % name, "Use letters, digits and _, no digit in front"
            )


def quote(value: str) -> str:
    """Return the value as Compose reads it back, unquoted where that is safe.

    :raises InputError: it holds a NUL, which no environment variable can.
    """
    if "\0" in value:
        raise InputError("A value for .env holds a NUL byte, which no environment variable can")
    if _PLAIN.fullmatch(value):
        return value
    # Within single quotes a backslash stands for itself, unless a quote follows.
    if not re.search(r"['\n\r]|\\\Z", value):
        return "'%s'" % value
    return '"%s"' % "".join(_ESCAPES.get(char, char) for char in value)


def assignments(text: str) -> Iterator[Assignment]:
    """Yield the variables of a file in their order, as Compose finds them.

    :raises InputError: a line that Compose would refuse.
    """
    position = 1 if text.startswith(_BOM) else 0
    while True:
        while position < len(text) and text[position].isspace():
            position += 1
        if position == len(text):
            return
        if text[position] == "#":
            position = _end_of_line(text, position)
            continue
        found = _assignment(text, position)
        yield found
        position = found.end


def set_variables(text: str, values: Mapping[str, str]) -> tuple[str, set[str]]:
    """Give variables other values wherever the file sets them.

    :returns: the new text, and the names that it sets.
    """
    parts, done, found = [], 0, set()
    for item in assignments(text):
        if item.name in values:
            parts += [text[done : item.start], "=" if item.bare else "", quote(values[item.name])]
            done = item.end
            found.add(item.name)
    return "".join([*parts, text[done:]]), found


def add_variables(text: str, values: Mapping[str, str]) -> str:
    """Add variables at the end."""
    newline = "\r\n" if "\r\n" in text else "\n"
    if text and not text.endswith("\n"):
        text += newline
    return text + "".join("%s=%s%s" % (name, quote(value), newline) for name, value in values.items())


def _assignment(text: str, position: int) -> Assignment:
    exported = _EXPORT.match(text, position)
    begin = exported.end() if exported else position
    end = begin
    while end < len(text) and text[end] not in "=:\n":
        if not (text[end].isalnum() or text[end] in _KEY_CHARACTERS or text[end] in _BLANK):
            raise _refused(text, end)
        end += 1
    name = text[begin:end].strip(_BLANK)
    if not name or re.search(r"\s", name):
        raise _refused(text, end)
    if end == len(text) or text[end] == "\n":
        edge = begin + len(text[begin:end].rstrip(_BLANK))
        return Assignment(name, edge, edge, bare=True)
    start = end + 1
    while start < len(text) and text[start] in _BLANK:
        start += 1
    mark = text[start : start + 1]
    if mark in ("'", '"'):
        return Assignment(name, start, _end_of_quotes(text, start))
    line = text[start : _end_of_line(text, start)]
    return Assignment(name, start, start + len(line.partition(" #")[0].rstrip()))


def _end_of_line(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end


def _end_of_quotes(text: str, start: int) -> int:
    escaped = False
    for position in range(start + 1, len(text)):
        if text[position] == text[start] and not escaped:
            return position + 1
        escaped = text[position] == "\\" and not escaped
    raise _refused(text, start)


def _refused(text: str, position: int) -> InputError:
    return InputError(
        "Line %d of the .env file is none that Docker Compose could read" % (text.count("\n", 0, position) + 1),
        "Correct it, or do not change variables in it",
    )
