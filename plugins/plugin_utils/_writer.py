# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Who writes sets: one run at a time for each instance and store, and none while sets are removed.

The unfinished set itself says who writes it, and by the age of its owner file that this one lives. To look for other
writers and to begin is done under the lock of the sets, which a prune holds to its end. Readers need neither.
"""

from __future__ import annotations

import datetime
import re
import typing as t

from ansible.utils.display import Display

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import ID_PATTERN, format_duration
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._backend import PARTIAL_SUFFIX, Backend
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._partial import PartialSet

display = Display()

# Silent for so long, a writer on another machine keeps nobody from beginning; what it wrote stays for a day.
_SILENCE_SECONDS = 3600


def begin(
    backend: Backend,
    choose: t.Callable[[], PartialSet],
    now: datetime.datetime,
    pid: int,
    recipients: t.Sequence[str],
) -> PartialSet:
    """Begin a set, after clearing unfinished ones whose run is dead.

    :param choose: returns the one to begin, once nobody else does.
    :param pid: of the run of C(ansible-playbook).
    :raises StateError: while another run writes a set of the instance, or removes some.
    """
    backend.make()
    backend.check_writable()
    with backend.lock("the beginning of a backup set") as lock:
        if lock.taken_over:
            display.warning("The lock of a dead owner was taken over: %s" % lock.taken_over)
        for name in clear_dead(backend):
            display.warning("%s was removed: the run that made it has ended" % backend.sets.at(name))
        _refuse_second(backend)
        partial = choose()
        partial.claim(now, pid, recipients)
    return partial


def clear_dead(backend: Backend) -> list[str]:
    """Remove unfinished sets that no living run writes and return their names."""
    removed = []
    for name, partial in _unfinished(backend):
        if not partial.alive():
            partial.discard()
            removed.append(name)
    return removed


def _refuse_second(backend: Backend) -> None:
    for _name, partial in _unfinished(backend):
        if partial.alive(_SILENCE_SECONDS):
            raise StateError(
                "%s is being written by %s, and only one run at a time writes sets of an instance"
                % (partial.path, partial.writer()),
                "Try again when that has ended. A dead run on this machine is noticed at once, one on another after %s"
                % format_duration(_SILENCE_SECONDS),
            )


def _unfinished(backend: Backend) -> list[tuple[str, PartialSet]]:
    return [
        (name, PartialSet(backend.folder(name), name[: -len(PARTIAL_SUFFIX)]))
        for name in sorted(backend.names())
        if re.fullmatch(ID_PATTERN + re.escape(PARTIAL_SUFFIX), name)
    ]
