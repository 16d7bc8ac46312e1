# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``python -m tests.lint [check ...]``: every static check, all of them even when one fails, and a table at the end."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lint import checks, sanity
from tests.lint.tree import copy_collection

if TYPE_CHECKING:
    from collections.abc import Callable

    Check = Callable[[Path], bool]

CHECKS: dict[str, Check] = {
    "ruff": checks.ruff,
    "format": checks.ruff_format,
    "mypy": checks.mypy,
    "ansible-lint": checks.ansible_lint,
    "sanity-2.18": lambda copy: sanity.run(copy, "2.18"),
    "sanity-2.19": lambda copy: sanity.run(copy, "2.19"),
}


def main(names: list[str]) -> int:
    """Run the named checks (default: all); return 1 when one of them found something."""
    unknown = sorted(set(names) - set(CHECKS))
    if unknown:
        print("No check named %s. There are: %s" % (", ".join(unknown), ", ".join(CHECKS)), file=sys.stderr)
        return 2
    outcome: list[tuple[str, bool, float]] = []
    with tempfile.TemporaryDirectory(prefix="recovery-lint-") as folder:
        copy = copy_collection(Path(folder))
        for name in names or list(CHECKS):
            print("== %s" % name, flush=True)
            start = time.monotonic()
            good = CHECKS[name](copy)
            outcome.append((name, good, time.monotonic() - start))
    print("\n== lint")
    for name, good, seconds in outcome:
        print("%-14s %-7s %5.0f s" % (name, "clean" if good else "FAILED", seconds))
    left_out = sanity.left_out()
    for line in left_out:
        print("left out: %s" % line)
    if left_out and os.environ.get("AUTHENTIK_RECOVERY_STRICT", "") not in ("", "0"):
        print("Nothing may be left out here.")
        return 1
    return 0 if all(good for _name, good, _seconds in outcome) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
