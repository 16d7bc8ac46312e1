# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which collations are of another version here than where a backup was made."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_set import collation_changes

LOCALE = {"locale_provider": "libc", "collation": "de_DE.UTF-8", "ctype": "de_DE.UTF-8", "locale": None}


def versions(own: str | None, **named: str | None) -> dict[str, Any]:
    rows = [{"schema": "pg_catalog", "name": name, "version": version} for name, version in named.items()]
    return {**LOCALE, "collation_version": own, "collations": rows}


@pytest.mark.parametrize(
    ("then", "now", "expected"),
    [
        (versions("2.36"), versions("2.36"), []),
        (versions("2.36"), versions("2.41"), ["de_DE.UTF-8, is of version 2.41 here and was of version 2.36"]),
        (versions(None), versions("2.41"), ["is of version 2.41 here and was of version unknown"]),
        (versions("2.36"), versions(None), ["is of version unknown here and was of version 2.36"]),
        (versions(None), versions(None), []),
        (LOCALE, versions("2.41", x="1"), []),
        (versions("2.36", x="1"), {}, []),
        (versions("1", a="1", b="2"), versions("1", a="1", b="3", c="4"), ["collation pg_catalog.b is of version 3"]),
    ],
)
def test_changes(then: dict[str, Any], now: dict[str, Any], expected: list[str]) -> None:
    found = collation_changes(then, now)
    assert len(found) == len(expected)
    assert all(words in sentence for words, sentence in zip(expected, found, strict=True))
