# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What a store holds, read: which sets there are, and why everything else is none."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import shlex
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _manifest
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    IntegrityError,
    RecoveryError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import (
    ID_PATTERN,
    check_id,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._backend import (
    DELETING_SUFFIX,
    PARTIAL_SUFFIX,
    Backend,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._notes import (
    Notes,
    failure_of,
    note_of,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._partial import PartialSet
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sets import (
    BEING_WRITTEN,
    HALF_REMOVED,
    LATEST,
    BackupSet,
    Problem,
    brief,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._stored import (
    check_stored_files,
    check_sums,
    load_manifest,
)


class ReadableStore:
    """The sets of one instance, for who reads them.

    :param backend: where they lie.
    :param instance: name of the instance.
    """

    def __init__(self, backend: Backend, instance: str) -> None:
        self.instance = instance
        self.backend = backend
        self._notes = Notes(backend.sets)

    @property
    def root(self) -> str:
        """The store, as the operator named it."""
        return self.backend.root

    @property
    def path(self) -> str:
        """What an operator calls the place of the instance's sets."""
        return self.backend.sets.location

    def exists(self) -> bool:
        """Tell whether there is anything of the instance."""
        return self.backend.sets.exists()

    def published(self, set_id: str) -> bool:
        """Tell whether a set of that id is visible."""
        return self.backend.folder(check_id(set_id)).exists()

    def list_sets(self, recheck: bool = False, remember: bool = False) -> tuple[list[BackupSet], list[Problem]]:
        """Return the sets, newest first, and everything that is not one.

        Their manifests are brief, see :func:`_sets.brief`: there may be thousands.

        :param recheck: take sets whose last verification failed as sets, because they will be verified again.
        :param remember: write down what was found out, where that makes the next list cheaper.
        """
        sets: list[BackupSet] = []
        problems: list[Problem] = []
        seen = self.backend.look()
        for one in self._walk(recheck, seen):
            if isinstance(one, BackupSet):
                sets.append(dataclasses.replace(one, manifest=brief(one.manifest)))
            else:
                problems.append(one)
        if remember:
            seen.remember(sets)
        return sets, problems

    def _walk(self, recheck: bool = False, seen: Backend | None = None) -> t.Iterator[BackupSet | Problem]:
        """Yield what is there, newest first."""
        for name in sorted(shown(seen or self.backend), reverse=True):
            if note_of(name):
                continue
            if re.fullmatch(ID_PATTERN + re.escape(PARTIAL_SUFFIX), name):
                alive = self._partial(name[: -len(PARTIAL_SUFFIX)]).alive()
                reason = BEING_WRITTEN if alive else "interrupted; the next backup removes it"
                yield Problem(name, reason, unfinished=True)
                continue
            if re.fullmatch(ID_PATTERN + re.escape(DELETING_SUFFIX), name):
                yield Problem(name, HALF_REMOVED, unfinished=True)
                continue
            try:
                yield self._load(name, recheck, seen)
            except RecoveryError as exc:
                yield Problem(name, exc.cause)

    def get(self, set_id: str, recheck: bool = False) -> BackupSet:
        """Return one set by its id, or the newest one for C(latest).

        :param recheck: as in :meth:`list_sets`.
        :raises InputError: when there is no such set.
        :raises IntegrityError: when it is damaged.
        """
        if set_id != LATEST:
            try:
                name = check_id(set_id)
            except InputError as exc:
                exc.command = self._list_command()
                raise
            if not self.published(name):
                raise InputError(
                    "There is no backup set %s of instance %s in %s" % (name, self.instance, self.root),
                    self._available(),
                    self._list_command(),
                )
            return self._load(name, recheck)
        return self.latest()[0]

    def latest(self) -> tuple[BackupSet, list[Problem]]:
        """Return the newest backup, and what is newer or damaged in its place and no set: it was passed over.

        A safety set holds what a restore replaced, often for a reason. It is only taken where there is nothing else.

        :raises InputError: when there is no set.
        """
        problems: list[Problem] = []
        safety: BackupSet | None = None
        for one in self._walk():
            if isinstance(one, Problem):
                problems += [one] if re.match(ID_PATTERN, one.name) else []
            elif not one.restore_id:
                return one, problems
            else:
                safety = safety or one
        if safety:
            return safety, problems
        raise InputError(
            "There is no backup set of instance %s in %s" % (self.instance, self.root),
            self._available(),
            self._list_command(),
        )

    def latest_backup(self) -> BackupSet | None:
        """Return the newest set that is no safety set; None where there is none."""
        return next((one for one in self._walk() if isinstance(one, BackupSet) and not one.restore_id), None)

    def safety_sets_after(self, backup_set: BackupSet) -> list[BackupSet]:
        """Return the safety sets that are newer than a set, newest first."""
        found = []
        for one in self._walk():
            if (one.set_id if isinstance(one, BackupSet) else one.name) <= backup_set.set_id:
                break
            if isinstance(one, BackupSet) and one.restore_id:
                found.append(one)
        return found

    def _partial(self, set_id: str) -> PartialSet:
        return PartialSet(self.backend.folder(set_id + PARTIAL_SUFFIX), set_id)

    def _list_command(self) -> str:
        return "ansible-playbook authentik_ops.recovery.list -e authentik_store=%s" % shlex.quote(self.root)

    def _available(self) -> str:
        sets, problems = self.list_sets()
        if not sets and not problems:
            return "The store holds nothing of this instance: check the store's path and the instance's name"
        text = "Sets: %s" % (", ".join(one.set_id for one in sets[:5]) or "none")
        if problems:
            text += "; not usable: %s" % ", ".join("%s (%s)" % (one.name, one.reason) for one in problems[:5])
        return text

    def _load(self, name: str, recheck: bool = False, seen: Backend | None = None) -> BackupSet:
        seen = seen or self.backend
        folder, notes = seen.folder(name), Notes(seen.sets)
        if not re.fullmatch(ID_PATTERN, name) or not folder.exists():
            raise StateError("%s is not a backup set" % self.backend.sets.at(name))
        known = seen.known(name)
        if known:
            manifest, sha256 = known
        else:
            manifest, text = load_manifest(folder)
            sha256 = hashlib.sha256(text).hexdigest()
        if manifest["id"] != name or manifest["instance"]["name"] != self.instance:
            owner = "%s/%s" % (manifest["instance"]["name"], manifest["id"])
            raise IntegrityError(
                "%s is that of %s" % (folder.at(_manifest.MANIFEST_NAME), owner),
                "The manifest was altered, or the folder was renamed or moved: use another set",
            )
        if not known:
            check_sums(folder, manifest, text)
        check_stored_files(folder, manifest)
        checks = notes.checks(name, sha256)
        failed = failure_of(checks)
        if failed and not recheck:
            raise IntegrityError("Its last verification failed: %s" % failed.get("error"))
        return BackupSet(self.backend.folder(name), manifest, sha256, checks, notes.pin(name))


def shown(backend: Backend) -> list[str]:
    """Return the names of sets, notes and what is unfinished; hidden ones are a backend's own."""
    return [name for name in backend.names() if not name.startswith(".")]
