# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What a store does with whole sets: what differs between a disk and other places that hold one.

Names of what lies there: C(<id>) a set, C(<id>.partial) an unfinished one, C(<id>.deleting) what is left of one that is
being removed; the notes beside them are files. A backend without folders shows the same names.
"""

from __future__ import annotations

import os
import shlex
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError, StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import (
    as_error,
    free_bytes,
    fsync_directory,
    make_private_directories,
    remove_abandoned,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._manifest import MANIFEST_NAME
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._ephemeral import check_lasting
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._folder import Directory, Folder
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._lock import Lock
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sets import BackupSet

PARTIAL_SUFFIX = ".partial"
DELETING_SUFFIX = ".deleting"

# No note takes that long to write.
_SILENCE_SECONDS = 60


class SetsLock(t.Protocol):
    """One who removes sets at a time.

    :ivar taken_over: the dead owner from whom it was taken; empty when there was none.
    """

    taken_over: str

    def __enter__(self) -> SetsLock:
        """Take it.

        :raises StateError: when somebody else has it.
        """

    def __exit__(self, *exc: object) -> None:
        """Give it back."""

    def beat(self) -> None:
        """Say that the owner lives."""


class Backend(t.Protocol):
    """Where the sets of one instance lie.

    :ivar root: the store, as the operator named it.
    :ivar catalogs: whether it is worth while to have it remember sets.
    """

    root: str
    catalogs: bool

    @property
    def sets(self) -> Folder:
        """The folder of the instance, for the notes beside the sets."""

    def names(self) -> list[str]:
        """Return the names of all that lies there."""

    def folder(self, name: str) -> Folder:
        """Return the folder of one of these names that is no note."""

    def look(self) -> Backend:
        """Return what answers for all that is there now, cheaper than being asked for each thing by itself."""

    def known(self, set_id: str) -> tuple[dict[str, t.Any], str] | None:
        """Return the brief manifest of a set that did not change since it was remembered, and its SHA-256."""

    def remember(self, sets: t.Sequence[BackupSet]) -> None:
        """Keep what a look found out about the sets, so that the next one is cheaper."""

    def check_lasting(self) -> None:
        """Refuse a place that does not outlast the job."""

    def check_writable(self) -> None:
        """Refuse a place where this user cannot write; nothing is changed."""

    def make(self) -> None:
        """Make the place for the sets of the instance."""

    def free(self) -> int | None:
        """Return the bytes that may still be written, None where nobody knows."""

    def commit(self, set_id: str, manifest: bytes) -> None:
        """Turn an unfinished set that only lacks its manifest into a set, at once and durably."""

    def hide(self, set_id: str) -> None:
        """Turn a set into what is left of one, at once and durably.

        :raises StateError: when there is no such set any more.
        """

    def lock(self, what: str) -> SetsLock:
        """Return the lock under which sets are removed, for a C(with) statement.

        :param what: what is done meanwhile, for whoever finds it locked.
        """


def directory_of(store: str) -> str:
    """Return the folder that a store's path means; a relative one starts where ansible-playbook runs."""
    return os.path.abspath(os.path.expanduser(os.path.expandvars(store)))


class DirectoryBackend:
    """Sets in a folder on the controller.

    :param root: the store's folder.
    :param instance: a name that was checked.
    """

    catalogs = False

    def __init__(self, root: str, instance: str) -> None:
        self.root = directory_of(root)
        self.sets = Directory(os.path.join(self.root, instance))

    def names(self) -> list[str]:
        """Return the names of all that lies there."""
        return self.sets.names()

    def folder(self, name: str) -> Directory:
        """Return the folder of that name."""
        return self.sets.child(name)

    def look(self) -> DirectoryBackend:
        """Return itself: a disk is asked cheaply enough."""
        return self

    def known(self, set_id: str) -> None:
        """Return None: a disk is read."""

    def remember(self, sets: t.Sequence[BackupSet]) -> None:
        """Remember nothing, for that reason."""

    def check_lasting(self) -> None:
        """Refuse a folder that does not outlast the job."""
        check_lasting(self.sets.location)

    def check_writable(self) -> None:
        """Refuse a store in which this user cannot write, or cannot make it where it does not exist yet."""
        path = self.sets.location
        place = path
        while not os.path.lexists(place):
            place = os.path.dirname(place)
        if not os.path.isdir(place):
            raise InputError("The store %s cannot be made: %s is not a folder" % (path, place), "Correct its path")
        if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
            raise InputError(
                "The store %s cannot be written by this user%s"
                % (path, "" if place == path else ", who may not write in %s" % place),
                "Check owner and mode of the folder, or choose another store",
                "ls -ld %s" % shlex.quote(place),
            )

    def make(self) -> None:
        """Make the folder of the instance, and clear it of half notes that killed runs left."""
        make_private_directories(self.sets.location)
        remove_abandoned(self.sets.location, silence=_SILENCE_SECONDS)

    def free(self) -> int:
        """Return the bytes that may still be written."""
        return free_bytes(self.sets.location)

    def commit(self, set_id: str, manifest: bytes) -> None:
        """Write the manifest and give the folder its name."""
        partial = self.sets.child(set_id + PARTIAL_SUFFIX)
        partial.write(MANIFEST_NAME, manifest, 0o400)
        try:
            os.rename(partial.location, self.sets.at(set_id))
            fsync_directory(self.sets.location)
        except OSError as exc:
            raise as_error("publish the backup set", self.sets.at(set_id), exc) from exc

    def hide(self, set_id: str) -> None:
        """Take the folder's name away."""
        path = self.sets.at(set_id)
        try:
            os.rename(path, path + DELETING_SUFFIX)
            fsync_directory(self.sets.location)
        except FileNotFoundError as exc:
            raise StateError("Backup set %s is not there any more" % path, "Somebody else removed it") from exc
        except OSError as exc:
            raise as_error("remove the backup set", path, exc) from exc

    def lock(self, what: str) -> Lock:
        """Return the lock under which sets are removed."""
        self.make()
        return Lock(self.sets.location, what)
