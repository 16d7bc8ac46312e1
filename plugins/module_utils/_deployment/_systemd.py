# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""systemd's file formats: environment files, unit files, and quoted words within them.

Pure functions over text. They follow systemd to the letter, oddities included, since a password that is read
differently here than by the service is a backup that fails at night.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

_WHITESPACE = " \t\n\r"
_NEWLINE = "\n\r"
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_SHELL_ESCAPED = '"\\`$'
_C_ESCAPES = {
    "a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, '"': 34, "'": 39, "s": 32,
}  # fmt: skip
_NUMERIC_ESCAPES = (("x", 16, 2), ("u", 16, 4), ("U", 16, 8), ("", 8, 3))


def parse_env_file(
    text: str, path: str = "environment file", comments_continue: bool | None = None
) -> tuple[dict[str, str], list[str]]:
    """Return the variables of an environment file as systemd's ``EnvironmentFile=`` reads it, and remarks.

    :param path: the file's name, for the remarks.
    :param comments_continue: whether a backslash at the end of a comment makes the next line part of it: True for
        systemd before 254, False from then on, None where the version is not known (then it does not).
    """
    reader = _EnvFileReader(path, comments_continue)
    for char in text:
        reader.state(char)
        if char == "\n":
            reader.line += 1
    reader.finish()
    return reader.variables, reader.remarks


class _EnvFileReader:
    """One method per state; ``state`` is the present one and takes the next character."""

    def __init__(self, path: str, comments_continue: bool | None) -> None:
        self._comments_continue = comments_continue
        self.variables: dict[str, str] = {}
        self.remarks: list[str] = []
        self.line = 1
        self._path = path
        self._key = ""
        self._value = ""
        self._kept = 0  # so much of the value is not whitespace at its end
        self.state: Callable[[str], None] = self._pre_key

    def finish(self) -> None:
        if self.state not in (self._pre_key, self._in_key, self._comment, self._comment_escape):
            if self.state in (self._single_quoted, self._double_quoted, self._double_quoted_escape):
                self._remark("a quote is not closed")
            self._store(strip=self.state == self._in_value)
        elif self.state == self._in_key:
            self._remark("there is no '=', so systemd ignores the line")

    def _remark(self, text: str) -> None:
        self.remarks.append("%s, line %d: %s" % (self._path, self.line, text))

    def _store(self, strip: bool) -> None:
        key = self._key.rstrip(_WHITESPACE)
        if _ENV_NAME.match(key):
            self.variables[key] = self._value[: self._kept] if strip else self._value
        else:
            # Not shown: it may be a piece of a secret that was broken over lines.
            self._remark("what is before '=' is no variable name, so systemd ignores the line")
        self._key, self._value, self._kept = "", "", 0
        self.state = self._pre_key

    def _add(self, char: str) -> None:
        self._value += char
        self._kept = len(self._value)

    def _pre_key(self, char: str) -> None:
        if char in "#;":
            self.state = self._comment
        elif char not in _WHITESPACE:
            self._key = char
            self.state = self._in_key

    def _in_key(self, char: str) -> None:
        if char in _NEWLINE:
            self._remark("there is no '=', so systemd ignores the line")
            self._key = ""
            self.state = self._pre_key
        elif char == "=":
            self.state = self._pre_value
        else:
            self._key += char

    def _pre_value(self, char: str) -> None:
        if char in _NEWLINE:
            self._store(strip=False)
        elif char == "'":
            self.state = self._single_quoted
        elif char == '"':
            self.state = self._double_quoted
        elif char == "\\":
            self.state = self._value_escape
        elif char not in _WHITESPACE:
            self._add(char)
            self.state = self._in_value

    def _in_value(self, char: str) -> None:
        if char in _NEWLINE:
            self._store(strip=True)
        elif char == "\\":
            self._kept = len(self._value)
            self.state = self._value_escape
        elif char in _WHITESPACE:
            self._value += char
        else:
            self._add(char)

    def _value_escape(self, char: str) -> None:
        if char not in _NEWLINE:
            self._add(char)
        self.state = self._in_value

    def _single_quoted(self, char: str) -> None:
        if char == "'":
            self.state = self._pre_value
        else:
            self._add(char)

    def _double_quoted(self, char: str) -> None:
        if char == '"':
            self.state = self._pre_value
        elif char == "\\":
            self.state = self._double_quoted_escape
        else:
            self._add(char)

    def _double_quoted_escape(self, char: str) -> None:
        if char in _SHELL_ESCAPED:
            self._add(char)
        elif char != "\n":
            self._add("\\" + char)
        self.state = self._double_quoted

    def _comment(self, char: str) -> None:
        if char == "\\":
            self.state = self._comment_escape
        elif char in _NEWLINE:
            self.state = self._pre_key

    def _comment_escape(self, char: str) -> None:
        if char in _NEWLINE and not self._comments_continue:
            if self._comments_continue is None:
                self._remark("a comment ends in a backslash: systemd before 254 takes the next line for a comment too")
            self.state = self._pre_key
        else:
            self.state = self._comment


def parse_unit(text: str) -> list[tuple[str, str, str]]:
    """Return a unit file's settings as ``(section, key, value)`` in their order."""
    settings: list[tuple[str, str, str]] = []
    section = ""
    continued = None
    for raw in re.split(r"\n", text):
        line = raw.rstrip("\r")
        if line.lstrip(_WHITESPACE)[:1] in ("#", ";"):
            continue
        line = line if continued is None else continued + line
        if (len(line) - len(line.rstrip("\\"))) % 2:
            continued = line[:-1] + " "
            continue
        continued = None
        section = _parse_unit_line(line.strip(_WHITESPACE), section, settings)
    if continued is not None:
        _parse_unit_line(continued.strip(_WHITESPACE), section, settings)
    return settings


def _parse_unit_line(line: str, section: str, settings: list[tuple[str, str, str]]) -> str:
    if line.startswith("[") and line.endswith("]"):
        return line[1:-1]
    key, equals, value = line.partition("=")
    if equals:
        settings.append((section, key.rstrip(_WHITESPACE), value.lstrip(_WHITESPACE)))
    return section


def effective(settings: list[tuple[str, str, str]], section: str, key: str) -> list[str]:
    """Return the values that a list setting has in the end: an empty assignment forgets those before it."""
    values: list[str] = []
    for at_section, at_key, value in settings:
        if (at_section, at_key) == (section, key):
            values = values + [value] if value else []
    return values


def last(settings: list[tuple[str, str, str]], section: str, key: str) -> str:
    """Return the value that a single setting has in the end, empty where it is not set."""
    values = [value for at_section, at_key, value in settings if (at_section, at_key) == (section, key)]
    return values[-1] if values else ""


def split_words(text: str) -> tuple[list[str], bool]:
    """Split into words with systemd's quotes and C escapes.

    :returns: the words, and False where the text is malformed: systemd then ignores it from there on.
    """
    words: list[str] = []
    word: bytearray | None = None
    quote = ""
    at = 0
    while at < len(text):
        char = text[at]
        at += 1
        if char == "\\":
            piece, at = _unescape(text, at)
            if piece is None:
                return words, False
            word = (word if word is not None else bytearray()) + piece
        elif quote:
            word = word if word is not None else bytearray()
            if char == quote:
                quote = ""
            else:
                word += char.encode("utf-8", "surrogateescape")
        elif char in "\"'":
            quote, word = char, word if word is not None else bytearray()
        elif char in _WHITESPACE:
            if word is not None:
                words.append(word.decode("utf-8", "surrogateescape"))
            word = None
        else:
            word = (word if word is not None else bytearray()) + char.encode("utf-8", "surrogateescape")
    if quote:
        return words, False
    if word is not None:
        words.append(word.decode("utf-8", "surrogateescape"))
    return words, True


def _unescape(text: str, at: int) -> tuple[bytes | None, int]:
    """Return the bytes that the escape at *at* (behind the backslash) stands for, None where it is invalid."""
    char = text[at : at + 1]
    if char in _C_ESCAPES:
        return bytes([_C_ESCAPES[char]]), at + 1
    for letter, base, length in _NUMERIC_ESCAPES:
        if letter and char != letter:
            continue
        start = at + len(letter)
        digits = text[start : start + length]
        pattern = r"[0-9a-fA-F]{%d}\Z" % length if base == 16 else r"[0-7]{3}\Z"
        if not re.match(pattern, digits):
            return None, at
        code = int(digits, base)
        if code == 0 or code > 0x10FFFF or (not letter and code > 255):
            return None, at
        return (bytes([code]) if letter in ("", "x") else chr(code).encode("utf-8")), start + length
    return None, at


def parse_environment(
    values: list[str], expand: Callable[[str], str], where: str = "Environment="
) -> tuple[dict[str, str], list[str]]:
    """Return the variables of ``Environment=`` settings, and remarks.

    :param expand: replaces specifiers such as ``%n``.
    :param where: what the remarks call the settings.
    """
    variables: dict[str, str] = {}
    remarks: list[str] = []
    for value in values:
        words, well_formed = split_words(value)
        if not well_formed:
            remarks.append("%s: a setting is malformed (quotes or escapes); systemd ignores it from there on" % where)
        for word in words:
            name, equals, content = expand(word).partition("=")
            if equals and _ENV_NAME.match(name):
                variables[name] = content
            else:
                remarks.append("%s: a word is no assignment of a variable; systemd ignores it" % where)
    return variables, remarks


def expand_specifiers(text: str, specifiers: dict[str, str]) -> str:
    """Replace ``%`` specifiers that are known; unknown ones stay as they are."""
    return re.sub(r"%(.)", lambda found: specifiers.get(found.group(1), found.group(0)), text)


def unit_specifiers(unit: str) -> dict[str, str]:
    """Return the specifiers of a system unit that do not depend on the running machine."""
    stem = unit.rpartition(".")[0]
    prefix, at, instance = stem.partition("@")
    return {
        "n": unit,
        "N": stem,
        "p": prefix,
        "i": instance if at else "",
        "I": _unescape_name(instance) if at else "",
        "j": prefix.rpartition("-")[2],
        "t": "/run",
        "S": "/var/lib",
        "C": "/var/cache",
        "L": "/var/log",
        "E": "/etc",
        "T": "/tmp",
        "V": "/var/tmp",
        "d": "/run/credentials/%s" % unit,
        "u": "root",
        "U": "0",
        "h": "/root",
        "%": "%",
    }


def _unescape_name(text: str) -> str:
    return re.sub(r"\\x([0-9a-fA-F]{2})", lambda found: chr(int(found.group(1), 16)), text.replace("-", "/"))
