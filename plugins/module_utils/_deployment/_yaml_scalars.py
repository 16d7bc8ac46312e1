# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The scalars and flow collections of the YAML subset; see ``_yaml``."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_INT = re.compile(
    r"(?P<sign>[-+]?)(?:0b(?P<bin>[01_]+)|0x(?P<hex>[0-9a-fA-F_]+)|0(?P<oct>[0-7_]+)"
    r"|(?P<sexagesimal>[1-9][0-9_]*(?::[0-5]?[0-9])+)|(?P<dec>0|[1-9][0-9_]*))$"
)
_FLOAT = re.compile(r"(?:[-+]?[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+][0-9]+)?$")
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$")
_REFUSED = re.compile(r"\d{4}-\d\d?-\d\d?(?:$|[Tt]| +\d)|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*$|=$|<<$")
_ESCAPES = {
    "0": "\0", "a": "\a", "b": "\b", "t": "\t", "\t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "e": "\x1b",
    " ": " ", '"': '"', "/": "/", "\\": "\\", "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029",
}  # fmt: skip
_HEX_ESCAPES = {"x": 2, "u": 4, "U": 8}


class YamlError(Exception):
    """Something that the subset does not know; the caller knows the line. Values are not shown: they may be secrets."""


def resolve(text: str) -> Any:
    """Return what PyYAML makes of a plain scalar: None, a boolean, a number or the text itself."""
    if text in _NULL:
        return None
    if text in (text.lower(), text.upper(), text.capitalize()) and text.lower() in _BOOL:
        return _BOOL[text.lower()]
    if _REFUSED.match(text) or _SPECIAL_FLOAT.match(text):
        raise YamlError(
            "the value means something else than text in YAML (a time, say); put it in quotes if text is meant"
        )
    if _FLOAT.match(text):
        return float(text.replace("_", ""))
    found = _INT.match(text)
    return _integer(found) if found else _plain(text)


def _integer(found: re.Match[str]) -> int:
    sign = -1 if found.group("sign") == "-" else 1
    for name, base in (("bin", 2), ("hex", 16), ("oct", 8), ("dec", 10)):
        digits = found.group(name)
        if digits is not None:
            return sign * int(digits.replace("_", "") or "0", base)
    value = 0
    for part in found.group("sexagesimal").replace("_", "").split(":"):
        value = value * 60 + int(part)
    return sign * value


def _plain(text: str) -> str:
    if text[0] in ",[]{}#&*!|>'\"%@`" or re.match(r"[-?:](?: |$)", text):
        raise YamlError(
            "a plain value cannot begin with %r here (anchors, aliases and tags are not supported)" % text[0]
        )
    if re.search(r":(?: |$)|\t", text):
        raise YamlError("a plain value cannot contain ': ' or a tab; put it in quotes")
    return text


def fold(lines: list[str], folded: bool, chomping: str, ended: bool = True) -> str:
    """Join the lines of a block scalar.

    :param lines: without their indentation.
    :param folded: True for ``>``, where a single line break between two unindented lines is a space.
    :param chomping: ``-`` drops the line breaks at the end, ``+`` keeps all, empty keeps one.
    :param ended: False where the last line is the file's and has no line break.
    """
    end = len(lines)
    while end and not lines[end - 1]:
        end -= 1
    pieces: list[str] = []
    blank = ""
    previous = None
    for line in lines[:end]:
        if not line:
            blank += "\n"
            continue
        if previous is not None:
            foldable = folded and previous[0] not in " \t" and line[0] not in " \t"
            if not foldable:
                pieces.append("\n")
            elif not blank:
                pieces.append(" ")
        pieces.append(blank + line)
        blank, previous = "", line
    body = "".join(pieces)
    trailing = "\n" * (len(lines) - end)
    if chomping == "-" or not ended:
        return body
    if chomping == "+":
        return body + ("\n" if end else "") + trailing
    return body + "\n" if end else body


class FlowReader:
    """Reads one value from one line: a quoted or plain scalar, ``[...]`` or ``{...}``."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def whole(self) -> Any:
        """Return the value of the whole line; only a comment may follow it."""
        if self.text[0] in "[{\"'":
            value = self._node()
            gap = self.skip_spaces() > 0 and self.text[self.at - 1] == " "
            rest = self.text[self.at :]
            if rest and not (rest.startswith("#") and gap):
                raise YamlError("unexpected text behind the value")
            return value
        return resolve(re.split(r" #", self.text, maxsplit=1)[0].rstrip(" "))

    def skip_spaces(self) -> int:
        """Move over spaces and return the position."""
        while self.text[self.at : self.at + 1] == " ":
            self.at += 1
        return self.at

    def quoted(self) -> str:
        """Read a quoted scalar at the present position."""
        quote = self.text[self.at]
        self.at += 1
        out = []
        while True:
            char = self._next()
            if char == quote:
                if quote == "'" and self.text[self.at : self.at + 1] == "'":
                    self.at += 1
                    out.append("'")
                    continue
                return "".join(out)
            out.append(self._escape() if char == "\\" and quote == '"' else char)

    def _next(self) -> str:
        if self.at >= len(self.text):
            raise YamlError("a quoted value or flow collection does not end on its line")
        self.at += 1
        return self.text[self.at - 1]

    def _escape(self) -> str:
        char = self._next()
        if char in _ESCAPES:
            return _ESCAPES[char]
        length = _HEX_ESCAPES.get(char, 0)
        digits = self.text[self.at : self.at + length]
        if not length or not re.match(r"[0-9a-fA-F]{%d}$" % length, digits) or int(digits, 16) > 0x10FFFF:
            raise YamlError("unknown escape '\\%s' in a double-quoted value" % char)
        self.at += length
        return chr(int(digits, 16))

    def _node(self) -> Any:
        self.skip_spaces()
        char = self.text[self.at : self.at + 1]
        if char and char in "\"'":
            return self.quoted()
        if char == "[":
            return self._sequence()
        if char == "{":
            return self._mapping()
        start = self.at
        while self.at < len(self.text) and not re.match(r"[,\[\]{}]|:(?:[ ,\[\]{}]|$)| #", self.text[self.at :]):
            self.at += 1
        return resolve(self.text[start : self.at].strip(" "))

    def _sequence(self) -> list[Any]:
        self.at += 1
        items: list[Any] = []
        while self._more("]", bool(items)):
            if self.text[self.at] == ",":
                raise YamlError("an item is missing before ','")
            items.append(self._node())
            self.skip_spaces()
            if self.text[self.at : self.at + 1] == ":":
                raise YamlError("a mapping inside a flow list needs braces here")
        return items

    def _mapping(self) -> dict[Any, Any]:
        self.at += 1
        result: dict[Any, Any] = {}
        while self._more("}", bool(result)):
            key = self._node()
            self.skip_spaces()
            if key is None or isinstance(key, (list, dict)) or self._next() != ":":
                raise YamlError("expected 'key: value' inside braces")
            result[key] = self._node()
        return result

    def _more(self, closing: str, need_comma: bool) -> bool:
        """Tell whether another item follows; move behind the comma or the closing bracket."""
        self.skip_spaces()
        if need_comma and self.text[self.at : self.at + 1] == ",":
            self.at += 1
            self.skip_spaces()
            need_comma = False
        if self.text[self.at : self.at + 1] == closing:
            self.at += 1
            return False
        if need_comma or self.at >= len(self.text):
            raise YamlError("expected ',' or %r" % closing)
        return True
