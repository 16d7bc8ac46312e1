# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``python -m tests.bench``: what the collection costs, beside the plainest way of doing the same, as a table.

Sizes come from the environment: ``BENCH_DATABASE_MB`` (1000), ``BENCH_TRANSFER_MB`` (1024),
``BENCH_MEMORY_MB`` (``"100 1000 4000"``), ``BENCH_LIST_SETS`` (1000). The
transfer over ssh needs root and a container engine.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import measures

if TYPE_CHECKING:
    from collections.abc import Callable

    Measure = Callable[[Path], list[measures.Row]]


def main(names: list[str]) -> int:
    """Run the named measures (default: all) and print their rows; 1 when an aim was missed."""
    known: dict[str, Measure] = {
        "dump": lambda work: measures.dump(work, _number("BENCH_DATABASE_MB", 1000)),
        "transfer": lambda work: measures.transfer(work, _number("BENCH_TRANSFER_MB", 1024)),
        "memory": lambda work: measures.memory(work, _numbers("BENCH_MEMORY_MB", "100 1000 4000")),
        "list": lambda _work: measures.listing(_number("BENCH_LIST_SETS", 1000)),
    }
    unknown = sorted(set(names) - set(known))
    if unknown:
        print("No measure named %s. There are: %s" % (", ".join(unknown), ", ".join(known)), file=sys.stderr)
        return 2
    rows: list[measures.Row] = []
    for name in names or list(known):
        # Not below /tmp: that may be memory, which is what is measured.
        work = Path(tempfile.mkdtemp(prefix="recovery-bench-", dir="/var/tmp"))
        work.chmod(0o755)
        try:
            print("measuring: %s ..." % name, file=sys.stderr, flush=True)
            rows += known[name](work)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    print("\n%-66s %12s %12s  %s" % ("what", "result", "aim", ""))
    for row in rows:
        print("%-66s %12s %12s  %s" % (row.what, row.result, row.aim, "" if row.good else "MISSED"))
    return 0 if all(row.good for row in rows) else 1


def _number(name: str, default: int) -> int:
    return int(os.environ.get(name) or default)


def _numbers(name: str, default: str) -> list[int]:
    return [int(word) for word in (os.environ.get(name) or default).split()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
