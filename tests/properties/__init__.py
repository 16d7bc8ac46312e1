# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Round trips of generated content: whatever hypothesis makes of it, what is restored equals the original.

``HYPOTHESIS_PROFILE=deep`` looks further, with other content each time; ``make test`` always tries the same.
"""
