# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``make test-engine``: thousands of random actions on a store, and after each one it is judged by a model of its own.

``product`` drives the collection, ``disk`` reads and damages what lies in the store, ``model`` and ``retention`` say
what has to be there, ``oracle`` compares. ``actions`` is the table of what is played; ``faults`` kills it, pauses it in
the middle, or takes its disk away. Of these only ``product`` imports the collection.
"""
