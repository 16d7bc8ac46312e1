# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``python -m tests.engine``: STEPS actions (2000), SEED (a random one, printed) repeats a run.

STORE is the folder in which the store is made; in memory where it is not given, so that no disk is waited for.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".collections"))


def main() -> int:
    """Play, and return 0 only when nothing was wrong after any step."""
    from tests.engine.run import Run, in_memory

    steps = int(os.environ.get("STEPS") or 2000)
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**6))
    print("seed %d: repeat with make test-engine STEPS=%d SEED=%d" % (seed, steps, seed), flush=True)
    folder = Path(tempfile.mkdtemp(prefix="engine-", dir=os.environ.get("STORE") or in_memory()))
    try:
        run = Run(folder, seed)
        played = run.play(steps)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for name, number in sorted(run.tally.items()):
        print("%6d  %s" % (number, name))
    print("\n".join(run.violations), end="\n" if run.violations else "")
    used = os.times()
    print("CPU seconds: %.0f" % sum(used[:4]))
    print("engine: %d steps, seed %d, violations: %d" % (played, seed, len(run.violations)))
    return 1 if run.violations else 0


if __name__ == "__main__":
    sys.exit(main())
