# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables of encryption reach the modules in both roles: what encrypts, and what reads."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.test_role_variables import calls

RECIPIENTS = ["age1mine", "age1yours"]


def opened(role: str, **variables: Any) -> tuple[Any, Any]:
    """Return the recipients, and whether they are required, with which the role opens its sets."""
    (found,) = {
        (tuple(options["encryption_recipients"]), options["require_encryption"])
        for module, options in calls(role, **variables)
        if module == "backup_set" and options["state"] == "open"
    }
    return found


def test_a_backup_is_encrypted_as_told() -> None:
    assert opened("backup") == ((), False)
    given = {"authentik_encryption_recipients": RECIPIENTS, "authentik_require_encryption": True}
    assert opened("backup", **given) == (tuple(RECIPIENTS), True)


def test_a_safety_set_is_encrypted_as_the_set_that_is_restored_unless_told_otherwise() -> None:
    assert opened("restore") == (("age1set",), False)
    assert opened("restore", authentik_encryption_recipients=RECIPIENTS) == (tuple(RECIPIENTS), False)
    assert opened("restore", authentik_encryption_recipients=[], authentik_require_encryption=True) == ((), True)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"identity_file": "/k"},
        {"identity_command": ["cat", "/k"]},
        {"identity_file": "/k", "identity_command": ["x"]},
    ],
)
def test_whatever_reads_the_set_gets_what_says_where_the_identity_is(given: dict[str, Any]) -> None:
    made = calls("restore", **{"authentik_encryption_" + name: value for name, value in given.items()})
    reading = [options for module, options in made if module == "backup_set_info"]
    assert reading
    assert {options["readable"] for options in reading} == {True}
    readers = ("pg_restore", "redis_restore", "static_restore", "config_restore")
    reading += [options["backup_set"] for module, options in made if module in readers]
    assert len(reading) > 4
    names = ("identity_file", "identity_command")
    assert [{name: one[name] for name in names if name in one} for one in reading] == [given] * len(reading)
    others = [options for module, options in made if module not in (*readers, "backup_set_info")]
    assert "identity_" not in str(others)
