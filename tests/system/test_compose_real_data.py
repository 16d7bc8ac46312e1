# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Genuine databases of authentik in compose projects: saved, lost with everything, rebuilt; nothing may differ.

They are looked for in ``../shared/fixtures`` beside the checkout, or in AUTHENTIK_RECOVERY_FIXTURES.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.announce import leave_out
from tests.system import compose_oracle as oracle
from tests.system.compose_layouts import LAYOUTS
from tests.system.compose_site import Site

if TYPE_CHECKING:
    from tests.support.compose_engine import Compose

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = Path(os.environ.get("AUTHENTIK_RECOVERY_FIXTURES") or ROOT.parent / "shared" / "fixtures")
VERSION = "2025.12.4"


@pytest.mark.parametrize(
    ("name", "dump"),
    [("2026.8", "authentik-2025.12.4.dump"), ("2025.12", "authentik-2025.12.4-multitenant-template.dump")],
)
def test_a_genuine_database_is_rebuilt_exactly(compose: Compose, tmp_path: Path, name: str, dump: str) -> None:
    if not (FIXTURES / dump).is_file():
        leave_out("%s is not there: set AUTHENTIK_RECOVERY_FIXTURES to a folder that holds it" % (FIXTURES / dump))
    site = Site(compose, LAYOUTS[name].at(VERSION), tmp_path)
    try:
        site.project.install(dump=FIXTURES / dump)
        before = oracle.picture(site.project)
        assert len(before["database"]) > 5000, "there is data to lose"
        run = site.run("backup")
        assert run.ok, run.output
        site.project.destroy()
        run = site.run("restore", rebuild=True)
        assert run.ok, run.output
        assert oracle.differences(before, oracle.picture(site.project)) == {}
    finally:
        site.close()
