# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The ways in which a copy takes the place of a live directory have this in common."""

from __future__ import annotations

import abc
import contextlib
import os
from typing import TYPE_CHECKING

from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_move import remove
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_names import Copy, abandoned_copies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_places import Place


class Way(abc.ABC):
    """How the copy of one place is prepared, swapped in and taken out again.

    All state is on the disk, so that each step can be repeated and undone whatever was killed in between.
    """

    def __init__(self, place: Place) -> None:
        self.place = place

    def clear_rest(self) -> None:
        """Remove the copies that killed restores left, under this id or another one: none was ever live."""
        for copy in abandoned_copies(self.place.live):
            remove_copy(self.place.live, copy)
        self.clear()

    @abc.abstractmethod
    def make_room(self) -> None:
        """Make the folder that the copy is going to be unpacked in."""

    @abc.abstractmethod
    def folder(self) -> str:
        """The existing folder in whose file system the copies are."""

    @abc.abstractmethod
    def blockers(self) -> list[str]:
        """Why this way is barred, in sentences."""

    @abc.abstractmethod
    def fate(self, names: list[str]) -> list[str]:
        """Sentences for the plan on what becomes of what is live now.

        :param names: what lies in the tree itself that is to be live; empty where that is not known.
        """

    def left_alone(self, names: list[str]) -> list[str]:
        """Sentences for the plan on what is neither exchanged nor restored; parameter as in :meth:`fate`."""
        return []

    @abc.abstractmethod
    def clear(self) -> None:
        """Remove what was prepared, if it was."""

    @abc.abstractmethod
    def swap(self) -> bool:
        """Put the prepared copy in the place of the live one, or go on with that; False when it was done already.

        :raises StateError: nothing was prepared, or something was made in the place meanwhile.
        """

    @abc.abstractmethod
    def undo(self, why: Callable[[], str], pretend: bool) -> list[str]:
        """Put back what was before and drop what was prepared; sentences saying what was done, none when nothing was.

        :param why: tells why a restored directory has to be kept, as a part of a sentence, or an empty text.
        :param pretend: only say it.
        """


def remove_copy(live: str, copy: Copy) -> None:
    """Remove a copy, which leaves no trace in the directory, nor in the time of its last change."""
    if copy.inside:
        with keeping_time(live):
            remove(copy.path)
    else:
        remove(copy.path)


@contextlib.contextmanager
def keeping_time(folder: str, mtime_ns: int | None = None) -> Iterator[None]:
    """Leave a folder with the modification time that it has now, or with the one given."""
    if mtime_ns is None:
        mtime_ns = os.stat(folder).st_mtime_ns
    try:
        yield
    finally:
        os.utime(folder, ns=(os.stat(folder).st_atime_ns, mtime_ns))
