# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures of the system tests: an installation per layout, and a controller that reaches it over ssh."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.playbook import Controller
from tests.system.authentik_host import LAYOUTS, BareMetal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.hosts import Host


@pytest.fixture(scope="module", params=sorted(LAYOUTS))
def bare_metal(request: pytest.FixtureRequest, start_host: Callable[[str], Host]) -> Iterator[BareMetal]:
    """A running installation; the tests of a module share it, in their order."""
    layout = LAYOUTS[request.param]
    host = start_host(layout.suite)
    installed = BareMetal(host, layout)
    installed.install()
    yield installed
    host.close()


@pytest.fixture
def over_ssh(bare_metal: BareMetal, tmp_path: Path) -> Iterator[Controller]:
    """A controller that reaches the installation as an unprivileged user, who becomes root by sudo."""
    work = tmp_path / "controller"
    work.mkdir()
    made = Controller(work, {"sso": bare_metal.host.variables})
    yield made
    made.close()


@pytest.fixture(scope="module")
def store(bare_metal: BareMetal, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the installation's own, which the tests of a module share."""
    return tmp_path_factory.mktemp("store") / "sets"
