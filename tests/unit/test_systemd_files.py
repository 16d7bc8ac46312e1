# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""systemd's environment files, unit files and quoted words, oddities included."""

from __future__ import annotations

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment import _systemd

ENV_FILES: dict[str, tuple[str, dict[str, str]]] = {
    "plain": ("A=b\nC=d\n", {"A": "b", "C": "d"}),
    "no line break at the end": ("A=b", {"A": "b"}),
    "empty value": ("A=\nB=", {"A": "", "B": ""}),
    "empty value at the end": ("A", {}),
    "comments": ("# x=1\n; y=2\n  # z=3\nA=b # c\n", {"A": "b # c"}),
    "hash within": ("A=b#c;d\n", {"A": "b#c;d"}),
    "spaces around": ("  A = b c \t \nB=\t x", {"A": "b c", "B": "x"}),
    "equals within": ("A=b=c==\n", {"A": "b=c=="}),
    "later wins": ("A=1\nA=2\n", {"A": "2"}),
    "single quotes": ("A='b \"$c\\n' \n", {"A": 'b "$c\\n'}),
    "double quotes": ('A="b \\"c\\" \\\\ \\$x \\` \\n"\n', {"A": 'b "c" \\ $x ` \\n'}),
    "quotes keep spaces": ("A='  b  '\nB=\"  c  \"", {"A": "  b  ", "B": "  c  "}),
    "quotes joined": ("A='b'\"c\"d\n", {"A": "bcd"}),
    "spaces between quotes vanish": ("A='b' \"c\"\n", {"A": "bc"}),
    "quotes within a plain value are kept": ("A=b'c'\"d\"\n", {"A": "b'c'\"d\""}),
    "quotes over lines": ("A='b\nc'\nD=\"e\nf\"\n", {"A": "b\nc", "D": "e\nf"}),
    "line break escaped in double quotes": ('A="b\\\nc"\n', {"A": "bc"}),
    "line break escaped": ("A=b\\\nc\n", {"A": "bc"}),
    "backslash": ("A=b\\c\\\\d\\ \n", {"A": "bc\\d "}),
    "backslash at the beginning": ("A=\\ b\n", {"A": " b"}),
    "dollar": ("A=$B ${C} $$\n", {"A": "$B ${C} $$"}),
    "carriage returns": ("A=b\r\nC=d\r\n", {"A": "b", "C": "d"}),
    "export": ("export A=b\nC=d\n", {"C": "d"}),
    "bad names": ("1A=b\nA-B=c\n=d\nD=e\n", {"D": "e"}),
    "text without equals": ("just text\nA=b\n", {"A": "b"}),
    "not ASCII": ("A=pässwörd–日本\n", {"A": "pässwörd–日本"}),
    "every printable character, quoted": (
        "A='%s'" % "".join(chr(code) for code in range(32, 127) if chr(code) != "'"),
        {"A": "".join(chr(code) for code in range(32, 127) if chr(code) != "'")},
    ),
    "comment with a backslash": ("# x \\\nA=b\n", {"A": "b"}),
    "unclosed quote": ("A='b\nC=d\n", {"A": "b\nC=d\n"}),
}


@pytest.mark.parametrize(("text", "expected"), ENV_FILES.values(), ids=ENV_FILES)
def test_env_file(text: str, expected: dict[str, str]) -> None:
    assert _systemd.parse_env_file(text)[0] == expected


@pytest.mark.parametrize(
    ("comments_continue", "expected", "remarks"),
    [(True, {"C": "d"}, 0), (False, {"A": "b", "C": "d"}, 0), (None, {"A": "b", "C": "d"}, 1)],
)
def test_a_comment_that_ends_in_a_backslash(
    comments_continue: bool | None, expected: dict[str, str], remarks: int
) -> None:
    variables, said = _systemd.parse_env_file("# x \\\nA=b\nC=d\n", "x.env", comments_continue)
    assert variables == expected
    assert len(said) == remarks


@pytest.mark.parametrize(
    ("text", "line"),
    [("A=b\nSENTINEL\n", 2), ("A=b\n\nSENT INEL=c\n", 3), ("A='SENTINEL\n", 2), ("# SENTINEL \\\nA=b\n", 1)],
)
def test_what_systemd_ignores_is_said_without_showing_it(text: str, line: int) -> None:
    remarks = _systemd.parse_env_file(text, "/etc/default/authentik")[1]
    assert len(remarks) == 1
    assert remarks[0].startswith("/etc/default/authentik, line %d:" % line)
    assert "SENT" not in remarks[0]


WORDS: dict[str, tuple[str, list[str], bool]] = {
    "plain": ("a  b\tc", ["a", "b", "c"], True),
    "empty": ("  ", [], True),
    "quotes": ("\"A=b c\" 'D=e f'", ["A=b c", "D=e f"], True),
    "quotes within": ("A=\"b c\"d 'x'", ["A=b cd", "x"], True),
    "empty quotes": ("'' a", ["", "a"], True),
    "other quote inside": ('"it\'s" \'say "x"\'', ["it's", 'say "x"'], True),
    "escapes": (r"a\sb \x41\102 \u00e9 \n \\ \"", ["a b", "AB", "é", "\n", "\\", '"'], True),
    "escapes in single quotes": (r"'a\tb'", ["a\tb"], True),
    "UTF-8 bytes": (r"\xc3\xa9", ["é"], True),
    "unknown escape": (r"A=b C=\q D=e", ["A=b"], False),
    "nul": (r"a \x00", ["a"], False),
    "unclosed": ("A=b 'c", ["A=b"], False),
    "backslash at the end": ("A=b c\\", ["A=b"], False),
}


@pytest.mark.parametrize(("text", "words", "well_formed"), WORDS.values(), ids=WORDS)
def test_words(text: str, words: list[str], well_formed: bool) -> None:
    assert _systemd.split_words(text) == (words, well_formed)


UNIT = """\
[Unit]
Description=authentik
; comment
[Service]
Environment=A=1 "B=two words" %n=x
Environment = C=%%d%u
ExecStart=/opt/authentik/ak \\
# a comment within
  ; another
    server \\
    --flag
Environment=
Environment=LAST='x=%N' \\
  E=f
User= authentik\x20
User=
nonsense
[Install]
Environment=NO=1
WantedBy=multi-user.target
"""


def test_unit_file() -> None:
    settings = _systemd.parse_unit(UNIT)
    assert _systemd.last(settings, "Service", "ExecStart").split() == ["/opt/authentik/ak", "server", "--flag"]
    assert _systemd.last(settings, "Service", "User") == ""
    assert _systemd.last(settings, "Unit", "Description") == "authentik"
    assert _systemd.effective(settings, "Service", "ExecStart") == [_systemd.last(settings, "Service", "ExecStart")]
    values = _systemd.effective(settings, "Service", "Environment")
    specifiers = _systemd.unit_specifiers("ak-x@a-b.service")
    variables, remarks = _systemd.parse_environment(values, lambda t: _systemd.expand_specifiers(t, specifiers))
    assert variables == {"LAST": "x=ak-x@a-b", "E": "f"}
    assert remarks == []


def test_environment_words_that_are_no_assignments_are_said() -> None:
    variables, remarks = _systemd.parse_environment(["A=1 SENTINEL B=2", "C=3 'SENTINEL"], str, "x.service")
    assert variables == {"A": "1", "B": "2", "C": "3"}
    assert len(remarks) == 2
    assert all("x.service" in remark and "SENTINEL" not in remark for remark in remarks)


@pytest.mark.parametrize(
    ("unit", "text", "expected"),
    [
        ("authentik-worker.service", "%n|%N|%p|%j|%i|%t|%S|%%n|%Z", "authentik-worker.service|authentik-worker|"
         "authentik-worker|worker||/run|/var/lib|%n|%Z"),
        ("ak@one-two.service", "%p|%i|%I|%d", "ak|one-two|one/two|/run/credentials/ak@one-two.service"),
        ("ak@a\\x2db.service", "%I", "a-b"),
    ],
)  # fmt: skip
def test_specifiers(unit: str, text: str, expected: str) -> None:
    assert _systemd.expand_specifiers(text, _systemd.unit_specifiers(unit)) == expected
