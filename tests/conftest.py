# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes the checkout importable under its collection name and loads the shared fixtures of ``tests/support``.

pytest-ansible offers the first part, but only by building a second tree of links inside the checkout.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COLLECTIONS = ROOT / ".collections"


def _install_collection_finder() -> None:
    # Ansible reads its configuration at import: a user's own must not reach the tests.
    for name in [name for name in os.environ if name.startswith("ANSIBLE_")]:
        del os.environ[name]
    os.environ["ANSIBLE_CONFIG"] = str(ROOT / "ansible.cfg")
    os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(COLLECTIONS)
    from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

    _AnsibleCollectionFinder(paths=[str(COLLECTIONS)])._install()


if "ansible_collections" not in sys.modules:
    _install_collection_finder()

pytest.register_assert_rewrite("tests.support")
pytest_plugins = sorted(
    "tests.support.%s" % path.stem for path in (ROOT / "tests" / "support").glob("*.py") if path.stem != "__init__"
)


def _terminated(*_signal: object) -> None:
    pytest.exit("terminated", returncode=143)


def pytest_configure() -> None:
    """Stop the servers and containers of the fixtures also when the run is told to end."""
    signal.signal(signal.SIGTERM, _terminated)
