# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ruff, mypy and ansible-lint."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lint.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

BIN = Path(sys.executable).parent
COLLECTION = "ansible_collections.authentik_ops.recovery"


def call(argv: list[str], cwd: Path, env: Mapping[str, str] | None = None) -> bool:
    """Run a tool on the caller's terminal; true when it found nothing."""
    done = subprocess.run(argv, cwd=cwd, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, check=False)
    sys.stdout.flush()
    return done.returncode == 0


def ruff(_copy: Path) -> bool:
    """Rules of pyproject.toml."""
    return call([str(BIN / "ruff"), "check", "--quiet", "."], ROOT)


def ruff_format(_copy: Path) -> bool:
    """One layout for all Python code (``.venv/bin/ruff format`` writes it)."""
    return call([str(BIN / "ruff"), "format", "--check", "--quiet", "."], ROOT)


def mypy(_copy: Path) -> bool:
    """Types of the plugins, under their collection name, and of the tests."""
    cache = str(ROOT / ".mypy_cache")
    plugins = call([str(BIN / "mypy"), "--cache-dir", cache, "-p", COLLECTION + ".plugins"], ROOT)
    tests = call([str(BIN / "mypy"), "--cache-dir", cache, "-p", "tests"], ROOT)
    return plugins and tests


def ansible_lint(copy: Path) -> bool:
    """The production profile, without network."""
    env = {
        "ANSIBLE_COLLECTIONS_PATH": str(copy.parents[2]),
        "ANSIBLE_HOME": str(copy.parents[2] / "home"),
        "PATH": "%s:%s" % (BIN, os.environ.get("PATH", os.defpath)),
    }
    return call([str(BIN / "ansible-lint"), "--offline", "--profile", "production", "--strict", "-q"], copy, env)
