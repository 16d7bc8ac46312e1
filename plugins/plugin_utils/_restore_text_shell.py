# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""A text with commands of bash in it: sections, and values that mean themselves wherever they stand. Pure."""

from __future__ import annotations

import re
import shlex
import typing as t


class Section(t.NamedTuple):
    """A part of the text: its title (none: it belongs to the one before), sentences, and lines of bash."""

    title: str
    words: t.Sequence[str]
    commands: t.Sequence[str]


def quoted(value: str) -> str:
    """Return a word of bash that stands for a value, whatever is in it: nothing in it is shown as what it is not."""
    if value.isprintable():
        return '"%s"' % value if "'" in value and not re.search(r'["$`\\!]', value) else shlex.quote(value)
    parts = []
    for char in value:
        if char.isprintable():
            parts.append("\\" + char if char in "\\'" else char)
        else:
            parts += ["\\x%02x" % byte for byte in char.encode("utf-8", "surrogateescape")]
    # A digit of the value would be taken for one of the number before it.
    return "$'%s'" % re.sub(r"(\\x[0-9a-f]{2})([0-9a-fA-F])", r"\1'$'\2", "".join(parts))


def code(value: str) -> str:
    """Return a value as code within a sentence."""
    shown = "".join(char if char.isprintable() else "?" for char in value)
    fence = _longer_than("`", shown, 1)
    room = " " if "`" in shown else ""
    return "%s%s%s%s%s" % (fence, room, shown, room, fence)


def here_document(command: str, text: str) -> list[str]:
    """Return the lines of a command that reads a text as it is."""
    word = "END"
    while word in text.split("\n"):
        word += "_"
    return ["%s <<'%s'" % (command, word), *text.split("\n"), word]


def document(head: t.Sequence[str], sections: t.Iterable[Section]) -> str:
    """Return the whole text, its sections numbered."""
    lines, number = list(head), 0
    for section in sections:
        if section.title:
            number += 1
            lines += ["", "## %d. %s" % (number, section.title)]
        for words in section.words:
            lines += ["", words]
        if section.commands:
            block = "\n".join(section.commands)
            fence = _longer_than("`", block, 3)
            lines += ["", fence + "bash", block, fence]
    return "\n".join(lines) + "\n"


def _longer_than(char: str, text: str, least: int) -> str:
    runs = [len(run) for run in re.findall(re.escape(char) + "+", text)]
    return char * max([least, *(run + 1 for run in runs)])
