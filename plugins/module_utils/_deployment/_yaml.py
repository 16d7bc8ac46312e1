# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Read authentik's YAML configuration files without PyYAML.

PyYAML is used where it is importable, since it is what authentik itself uses. Elsewhere a reader for the subset that
configuration files are written in takes its place: block mappings and lists, plain and quoted scalars on one line,
block scalars, flow collections on one line, comments. Scalars mean what they mean to PyYAML. Anything else is refused
with the number of the line: a value that was guessed wrong could become a backup that does not restore.
"""

from __future__ import annotations

import json
import re

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._yaml_scalars import (
    FlowReader,
    YamlError,
    fold,
    resolve,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError

try:
    import yaml

    HAS_PYYAML = True
except ImportError:
    HAS_PYYAML = False

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BLOCK_HEADER = re.compile(r"(?P<style>[|>])(?P<hints>[-+]?[1-9]?|[1-9][-+])(?: +#.*)?$")


def load(text: str, path: str) -> Any:
    """Return the value of one YAML document.

    :param path: the file's name, for messages.
    :raises InputError: naming file and line of what cannot be read.
    """
    if not HAS_PYYAML:
        return load_subset(text, path)
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        raise InputError(
            "%s%s is not valid YAML: %s"
            # What PyYAML quotes may be a piece of a secret.
            % (
                path,
                ", line %d," % (mark.line + 1) if mark else "",
                re.sub(r"'.{2,}'", "'...'", getattr(exc, "problem", None) or "unreadable"),
            ),
            "Correct the file; authentik cannot read it either",
        ) from None


def load_subset(text: str, path: str) -> Any:
    """Return the value of one YAML document, read by the built-in reader.

    :raises InputError: naming file and line of what it cannot read.
    """
    text = text[1:] if text.startswith("\ufeff") else text
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text)  # JSON is YAML, and generators of configuration like to write it
        except ValueError:
            pass  # a flow mapping in YAML's own notation: read below
    reader = _Reader(text)
    try:
        return reader.document()
    except YamlError as exc:
        raise InputError(
            "%s, line %d, cannot be read: %s" % (path, reader.number, exc),
            "Write it in plain block style, or install PyYAML for the Python that Ansible uses on this host",
        ) from None


class _Reader:
    def __init__(self, text: str) -> None:
        self.lines = re.split(r"\r\n|\n|\r", text)
        self.at = 0

    @property
    def number(self) -> int:
        """The present line's number, from 1."""
        return min(self.at, len(self.lines) - 1) + 1

    def document(self) -> Any:
        if self._peek() is not None and self._line().rstrip() == "---":
            self.at += 1
        elif self._peek() is not None and re.match(r"---\s|%", self._line()):
            raise YamlError("directives and content on the document's first marker are not supported")
        value = self._block(-1)
        if self._peek() is not None and self._line().rstrip() == "...":
            self.at += 1
        if self._peek() is not None:
            raise YamlError("unexpected content; is the indentation right?")
        return value

    def _line(self) -> str:
        return self.lines[self.at]

    def _peek(self) -> int | None:
        """Move to the next line with content and return its indentation, None at the end."""
        while self.at < len(self.lines):
            stripped = self._line().lstrip(" ")
            if stripped.startswith("\t"):
                if stripped.strip():
                    raise YamlError("a tab is used for indentation")
            elif stripped and not stripped.startswith("#"):
                return len(self._line()) - len(stripped)
            self.at += 1
        return None

    def _block(self, parent: int, same_indent_list: bool = False) -> Any:
        """Read the value that is indented deeper than *parent*; None when there is none."""
        indent = self._peek()
        if indent is None or self._line() in ("...", "---"):
            return None
        content = self._line()[indent:]
        is_list = content == "-" or content.startswith("- ")
        if indent < parent or (indent == parent and not (same_indent_list and is_list)):
            return None
        if is_list:
            return self._list(indent)
        if _key_end(content) is None:
            return self._value(content, parent)
        return self._mapping(indent)

    def _list(self, indent: int) -> list[Any]:
        items = []
        while self._peek() == indent:
            content = self._line()[indent:]
            if content != "-" and not content.startswith("- "):
                break
            rest = content[1:].lstrip(" ")
            offset = len(content) - len(rest)
            if not rest or rest.startswith("#"):
                self.at += 1
                items.append(self._block(indent))
            elif rest.startswith("- ") or rest == "-" or _key_end(rest) is not None:
                # A collection that begins behind the dash: the dash counts as indentation.
                self.lines[self.at] = " " * (indent + offset) + rest
                items.append(self._block(indent))
            else:
                items.append(self._value(rest, indent))
        self._refuse_deeper(indent)
        return items

    def _mapping(self, indent: int) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        while self._peek() == indent:
            content = self._line()[indent:]
            if content in ("...", "---"):
                break
            end = _key_end(content)
            if end is None:
                raise YamlError("expected 'key: value'")
            key = _key(content[:end].rstrip(" "))
            rest = content[end + 1 :].lstrip(" ")
            if not rest or rest.startswith("#"):
                self.at += 1
                result[key] = self._block(indent, same_indent_list=True)
            else:
                result[key] = self._value(rest, indent)
        self._refuse_deeper(indent)
        return result

    def _refuse_deeper(self, indent: int) -> None:
        following = self._peek()
        if following is not None and following > indent:
            raise YamlError("the indentation fits nothing above it")

    def _value(self, text: str, indent: int) -> Any:
        """Read a scalar or flow collection that begins on the present line, and move behind it."""
        if text[0] in "|>":
            return self._block_scalar(text, indent)
        value = FlowReader(text).whole()
        self.at += 1
        following = self._peek()
        if following is not None and following > indent:
            raise YamlError("a value that goes on over several lines is not supported")
        return value

    def _block_scalar(self, header: str, parent: int) -> str:
        found = _BLOCK_HEADER.match(header.rstrip(" "))
        if not found:
            raise YamlError("this block scalar's header is not supported")
        hints = found.group("hints")
        digits = hints.strip("+-")
        self.at += 1
        indent = max(parent, 0) + int(digits) if digits else self._detect_indent(parent)
        lines = []
        while self.at < len(self.lines):
            line = self._line()
            if line.strip(" ") and len(line) - len(line.lstrip(" ")) < indent:
                break
            lines.append(line[indent:])
            self.at += 1
        ended = not (self.at == len(self.lines) and lines and lines[-1])
        if self.at == len(self.lines) and lines and not lines[-1]:
            lines.pop()  # what follows the last line break is no line
        return fold(lines, found.group("style") == ">", hints.strip("123456789"), ended)

    def _detect_indent(self, parent: int) -> int:
        longest_blank = 0
        for line in self.lines[self.at :]:
            indent = len(line) - len(line.lstrip(" "))
            if line.strip(" "):
                if indent <= parent:
                    break
                if longest_blank > indent > parent:
                    raise YamlError("the block scalar begins with a line of spaces longer than its indentation")
                return max(indent, parent + 1, 1)
            longest_blank = max(longest_blank, indent)
        return max(longest_blank, parent + 1, 1)


def _key_end(text: str) -> int | None:
    """Return the position of the colon that ends the key at the start of *text*, None where it is no mapping entry."""
    if text[0] in "\"'":
        closed = FlowReader(text)
        closed.quoted()
        after = closed.skip_spaces()
        return after if text[after : after + 2] in (":", ": ") else None
    if text[0] in "[{|>#":
        return None
    found = re.search(r":(?= |$)| #", text)
    return found.start() if found and found.group(0) == ":" else None


def _key(text: str) -> Any:
    if not text or text.startswith(("? ", "<<")) or text == "?":
        raise YamlError("empty keys, complex keys and merge keys are not supported")
    if text[0] in "\"'":
        return FlowReader(text).quoted()
    return resolve(text)
