# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dumps of genuine authentik databases go in, are backed up, lost and restored; nothing may differ.

They are looked for in ``../shared/fixtures`` beside the checkout, or in AUTHENTIK_RECOVERY_FIXTURES.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.support import oracle
from tests.support.announce import leave_out
from tests.support.pg_sets import make_set, restore
from tests.support.postgres import Server

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = Path(os.environ.get("AUTHENTIK_RECOVERY_FIXTURES") or ROOT.parent / "shared" / "fixtures")
DUMPS = ("authentik-2025.12.4.dump", "authentik-2025.12.4-multitenant-template.dump")


@pytest.mark.parametrize("superuser", [False, True], ids=["plain owner", "superuser"])
@pytest.mark.parametrize("dump", DUMPS)
def test_a_genuine_database_comes_back_exactly(fresh18: Server, tmp_path: Path, dump: str, superuser: bool) -> None:
    if not (FIXTURES / dump).is_file():
        leave_out("%s is not there: set AUTHENTIK_RECOVERY_FIXTURES to a folder that holds it" % (FIXTURES / dump))
    database = fresh18.create_database(superuser=superuser)
    load = ["--no-owner", "-e", "-d", "authentik", str(FIXTURES / dump)]
    fresh18.run("pg_restore", *load, user=database.owner, password=database.password)
    picture = oracle.take(fresh18, "authentik")
    assert sum(len(rows) for rows in picture.copied.values()) > 1000, "there is data to lose"

    folder = make_set(tmp_path / "set", database)
    fresh18.psql("DROP DATABASE authentik")
    admin: dict[str, Any] = {"admin_user": None, "admin_password": None} if superuser else {}
    for step in ("check", "prepare", "swap"):
        result = restore(database, step, folder, **admin)
        assert not result.get("failed"), result

    assert oracle.differences(picture, oracle.take(fresh18, "authentik")) == []
    assert fresh18.databases() == ["authentik"]
