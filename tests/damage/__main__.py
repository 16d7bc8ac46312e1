# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``make test-damage``: 1,000 flipped bytes and 200 cut files, each to be refused before anything is touched.

``SEED=N`` repeats a run. ``DAMAGE_FLIPS``, ``DAMAGE_CUTS`` and ``DAMAGE_PLAYBOOK`` change the numbers.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".collections"))

if TYPE_CHECKING:
    from tests.damage.run import Outcome

_SHOWN = 40


def main() -> int:
    """Run everything and return 0 when nothing escaped."""
    from tests.damage.run import Damages
    from tests.demo.instance import Instance
    from tests.support.site import EVENTS, Site

    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**6))
    flips, cuts, sample = (_number(*pair) for pair in (("FLIPS", 1000), ("CUTS", 200), ("PLAYBOOK", 20)))
    print("seed: %d (make test-damage SEED=%d repeats this run)" % (seed, seed), flush=True)
    root = Path(tempfile.mkdtemp(prefix="damage-"))
    root.chmod(0o755)
    try:
        with Instance(root / "host", EVENTS) as instance:
            site = Site(root, instance)
            instance.create()
            damages = Damages(site, seed)
            parts = {}
            for name, work in (
                ("at rest, by the modules", lambda: damages.at_rest(flips, cuts)),
                ("at the source, by the modules", lambda: damages.at_the_source(flips // 5, cuts // 5)),
                ("at rest, by restore.yml --check", lambda: damages.by_the_playbook(sample, sample // 4)),
            ):
                begin = time.monotonic()
                parts[name] = work()
                _tell(name, parts[name], time.monotonic() - begin)
            live = damages.live_differences()
            damages.close()
            site.controller.close()
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(root)], check=False)
        shutil.rmtree(root, ignore_errors=True)
    return _verdict(list(parts.values()), live)


def _tell(name: str, outcome: Outcome, seconds: float) -> None:
    idle = ", %d changed nothing that is restored" % outcome.idle if outcome.idle else ""
    print("%-32s %5d tried, %5d caught%s (%.0f s)" % (name, outcome.tried, outcome.caught, idle, seconds))
    for path, count in sorted(outcome.files.items()):
        print("    %5d  %s" % (count, path))
    for problem in outcome.problems[:_SHOWN]:
        print("    PROBLEM: %s" % problem)
    sys.stdout.flush()


def _verdict(outcomes: list[Outcome], live: list[str]) -> int:
    for line in live[:_SHOWN]:
        print("CHANGED LIVE: %s" % line)
    print("live instance: %s" % ("CHANGED" if live else "as it was, by pg_dump, DUMP and os.walk"))
    # What changes nothing is no damage: it is not counted as one that was tried.
    tried = sum(outcome.tried - outcome.idle for outcome in outcomes)
    caught = sum(outcome.caught for outcome in outcomes)
    print("damages: %d tried, %d caught" % (tried, caught))
    return 1 if live or tried != caught or any(outcome.problems for outcome in outcomes) else 0


def _number(name: str, default: int) -> int:
    return int(os.environ.get("DAMAGE_" + name) or default)


if __name__ == "__main__":
    sys.exit(main())
