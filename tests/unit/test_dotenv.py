# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ``.env`` of a compose project: values are quoted, and nothing else is touched."""

from __future__ import annotations

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _dotenv
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("", "''"),
        ("ghcr.io/goauthentik/server:2025.10", "ghcr.io/goauthentik/server:2025.10"),
        ("abc+/=", "abc+/="),
        ("two words", "'two words'"),
        ('a#b $HOME ${X} `x` "y"', "'a#b $HOME ${X} `x` \"y\"'"),
        ("Ünï", "'Ünï'"),
        ("back\\slash", "'back\\slash'"),
        ("it's $5", '"it\'s \\$5"'),
        ("ends in \\", '"ends in \\\\"'),
        ("two\nlines", '"two\\nlines"'),
        ("'\"$\\", '"\'\\"\\$\\\\"'),
    ],
)
def test_quoting(value: str, quoted: str) -> None:
    assert _dotenv.quote(value) == quoted


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("A=1\nX=old\nB=2\n", "A=1\nX='n w'\nB=2\n"),
        ("X=old # why\n", "X='n w' # why\n"),
        ("X = old\n", "X = 'n w'\n"),
        ("export X=old", "export X='n w'"),
        ("X: old\n", "X: 'n w'\n"),
        ("X\nB=2\n", "X='n w'\nB=2\n"),
        ("X=\nB=2\n", "X='n w'\nB=2\n"),
        ("X='a\nB=not\nit\\'s' # why\nB=2\n", "X='n w' # why\nB=2\n"),
        ('X="a\\"\nX=not\\\\"\nB=2\n', "X='n w'\nB=2\n"),
        ("X=1\nX=2\n", "X='n w'\nX='n w'\n"),
        ("X=old\r\nB=2\r\n", "X='n w'\r\nB=2\r\n"),
        ("\ufeffX=old\n", "\ufeffX='n w'\n"),
        ('B="\nX=inside\n"\n#X=old\nXX=1\n', 'B="\nX=inside\n"\n#X=old\nXX=1\n'),
        ("", ""),
    ],
)
def test_a_variable_is_changed_where_the_file_sets_it(before: str, after: str) -> None:
    text, found = _dotenv.set_variables(before, {"X": "n w"})
    assert text == after
    assert found == ({"X"} if before != after else set())


def test_variables_are_added_at_the_end() -> None:
    assert _dotenv.add_variables("A=1", {"X": "a b", "Y": "1"}) == "A=1\nX='a b'\nY=1\n"
    assert _dotenv.add_variables("A=1\r\n", {"X": "1"}) == "A=1\r\nX=1\r\n"


@pytest.mark.parametrize("text", ["A=1\nX='open\n", "A=1\nB C=2\n", "A=1\nB!=2\n", "A=1\n=2\n"])
def test_a_file_that_compose_refuses_is_not_edited(text: str) -> None:
    with pytest.raises(InputError, match=r"Line 2 of the \.env file"):
        _dotenv.set_variables(text, {"X": "1"})


@pytest.mark.parametrize("name", ["", "1A", "A B", "A-B", "A=B"])
def test_names_that_no_variable_has(name: str) -> None:
    with pytest.raises(InputError, match="cannot be the name"):
        _dotenv.check_names({name: "x"})
    with pytest.raises(InputError, match="NUL"):
        _dotenv.quote("a\0b")
