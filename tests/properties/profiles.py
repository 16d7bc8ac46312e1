# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far hypothesis looks."""

from __future__ import annotations

import os
import tempfile

from hypothesis import HealthCheck, Phase, settings
from hypothesis.configuration import set_hypothesis_home_dir

QUICK, DEEP = "quick", "deep"
#: How many times more examples the deep profile tries.
_DEEPER = 25

# Nothing of it lies in the checkout.
set_hypothesis_home_dir(os.path.join(tempfile.gettempdir(), "hypothesis-%d" % os.geteuid()))
# How long an example takes says nothing: servers do the work. The tests take fixtures of the whole session only.
settings.register_profile(
    QUICK,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # To make a failing example small takes minutes; the deep profile does it.
    phases=(Phase.explicit, Phase.generate),
)
settings.register_profile(
    DEEP, derandomize=False, database=None, deadline=None, print_blob=True, suppress_health_check=list(HealthCheck)
)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE") or QUICK
settings.load_profile(PROFILE)


def examples(number: int) -> settings:
    """Return the settings of a test that tries so many examples in ``make test``."""
    return settings(max_examples=number * (_DEEPER if PROFILE == DEEP else 1))
