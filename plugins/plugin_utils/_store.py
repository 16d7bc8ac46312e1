# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The store: what holds the backup sets of each instance.

A set becomes visible at once, after every artifact was read back. Whatever has no valid manifest is not a set; it is
reported with the reason.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import re
import shlex
import time
import typing as t

from ansible.utils.display import Display

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
    check_instance_name,
    is_id,
    new_id,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _writer
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._backend import (
    DELETING_SUFFIX,
    PARTIAL_SUFFIX,
    Backend,
    DirectoryBackend,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._backend_s3 import S3Backend
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._encrypted import DecryptingSource
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._notes import (
    LEVELS,
    Notes,
    failure_of,
    new_check,
    note_of,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._partial import PartialSet
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._removal import SetRemoval
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_client import (
    S3_SPEC,
    Location,
    is_location,
    make_client,
)
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
    read_back,
    write_instructions,
)

display = Display()

#: The options by which a task names the sets of an instance.
STORE_SPEC: dict[str, t.Any] = {
    "store": {"type": "str", "required": True},
    "instance": {"type": "str", "required": True},
    **S3_SPEC,
}


def open_store(store: str, instance: str, s3: t.Mapping[str, t.Any] | None = None) -> Store:
    """Return the store that a task names.

    :param store: a folder on the controller, or C(s3://bucket/prefix).
    :param instance: name of the instance.
    :param s3: how the endpoint is reached, see :data:`_s3_client.S3_SPEC`; only for a store in a bucket.
    :raises InputError: when one of them cannot be meant.
    """
    if not store.strip():
        raise InputError("The store has an empty path", "Name it with authentik_store: a folder, or s3://BUCKET/PREFIX")
    name = check_instance_name(instance)
    if is_location(store):
        return Store(S3Backend(make_client(s3, display.display), Location.parse(store), name), instance)
    return Store(DirectoryBackend(store, name), instance)


class Store:
    """The sets of one instance.

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

    def open(self, now: datetime.datetime, entropy: bytes, pid: int, recipients: t.Sequence[str] = ()) -> PartialSet:
        """Start a set, after clearing unfinished ones whose run is dead.

        :param recipients: public keys, checked before, that all of it is encrypted to; none for a plain set.
        :raises StateError: while another run writes a set of the instance, or removes some.
        :raises RecoveryError: when the store cannot be written.
        """
        return _writer.begin(self.backend, lambda: self._partial(self.propose(now, entropy)), now, pid, recipients)

    def open_copy(self, set_id: str, now: datetime.datetime, pid: int, recipients: t.Sequence[str]) -> PartialSet:
        """Start a set that keeps the id that it has in another store; else as :meth:`open`."""
        return _writer.begin(self.backend, lambda: self._partial(set_id), now, pid, recipients)

    def propose(self, now: datetime.datetime, entropy: bytes) -> str:
        """Return an id for a new set: it sorts after all that are there, even when the clock went back."""
        ids = {name[: len("20260101T000000Z-0000")] for name in _shown(self.backend)}
        return new_id(now, entropy, after=max(filter(is_id, ids), default=""))

    def partial(self, set_id: str) -> PartialSet:
        """Return the unfinished set of that id.

        :raises StateError: when it was published, discarded or never opened.
        """
        found = self.unfinished(set_id)
        if found is None:
            raise StateError(
                "There is no unfinished backup set %s in %s" % (set_id, self.path),
                "Open one with authentik_backup_set (state=open) and use the id that it returns",
            )
        return found

    def unfinished(self, set_id: str) -> PartialSet | None:
        """Return the unfinished set of that id, None when there is none."""
        partial = self._partial(check_id(set_id))
        return partial if partial.folder.exists() else None

    def published(self, set_id: str) -> bool:
        """Tell whether a set of that id is visible."""
        return self.backend.folder(check_id(set_id)).exists()

    def clear_dead(self) -> list[str]:
        """Remove unfinished sets that no living run writes and return their names."""
        return _writer.clear_dead(self.backend)

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
        for name in sorted(_shown(seen or self.backend), reverse=True):
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

    def verify(
        self,
        backup_set: BackupSet,
        now: datetime.datetime,
        record_it: bool = True,
        content: DecryptingSource | None = None,
    ) -> dict[str, t.Any]:
        """Read every artifact, compare it with the manifest, and record the outcome beside the set.

        :param record_it: False leaves the store as it is.
        :param content: what decrypts an encrypted set; its content is read and compared too then.
        :returns: the record, with C(level), C(time), C(ok), C(artifacts), C(bytes), C(seconds).
        :raises IntegrityError: when one differs; that is recorded too.
        """
        begin = time.monotonic()
        try:
            read_back(backup_set.folder, backup_set.manifest["artifacts"])
            if content:
                content.drain()
            self._load(backup_set.set_id, recheck=True)
        except RecoveryError as exc:
            if record_it:
                unproved = not isinstance(exc, IntegrityError)
                self.record(backup_set, new_check(LEVELS[0], now, backup_set.manifest_sha256, exc.cause, unproved))
            raise
        record = self._passed(backup_set, now, begin)
        if record_it:
            self.record(backup_set, record)
        return record

    def record(self, backup_set: BackupSet, check: dict[str, t.Any]) -> None:
        """Keep the outcome of a verification beside the set, as :func:`_notes.new_check` made it."""
        self._notes.save_check(backup_set.set_id, check)

    def publish(self, partial: PartialSet, manifest: dict[str, t.Any], now: datetime.datetime) -> BackupSet:
        """Make the set visible: artifacts read back, RESTORE.md, SHA256SUMS, manifest.

        :raises RecoveryError: when anything is not as the manifest says; nothing is visible then.
        """
        begin = time.monotonic()
        _manifest.validate(manifest)
        listed = sorted(artifact["path"] for artifact in manifest["artifacts"])
        found = partial.files()
        if listed != found:
            raise IntegrityError(
                "The unfinished set holds %s; its components recorded %s"
                % (", ".join(found) or "nothing", ", ".join(listed) or "nothing")
            )
        if listed and _manifest.recipients_of(manifest) != partial.recipients:
            raise IntegrityError("The artifacts of the unfinished set are not encrypted to the recipients of the set")
        read_back(partial.folder, manifest["artifacts"])
        manifest = write_instructions(partial.folder, manifest)
        text = _manifest.dump(manifest)
        seal = partial.seal(text) if listed and partial.recipients else b""
        sums = _manifest.sums_text(text, manifest, seal)
        partial.folder.write(_manifest.SUMS_NAME, sums, 0o400)
        return self._make_visible(partial, text, now, begin)

    def adopt(self, partial: PartialSet, text: bytes, now: datetime.datetime) -> BackupSet:
        """Make a set visible that was made elsewhere, once what arrived of it is what its manifest says.

        :param text: its manifest.
        :raises RecoveryError: when it is not; nothing is visible then.
        """
        begin = time.monotonic()
        manifest = _manifest.load(text)
        check_sums(partial.folder, manifest, text)
        read_back(partial.folder, manifest["artifacts"])
        return self._make_visible(partial, text, now, begin)

    def _make_visible(self, partial: PartialSet, text: bytes, now: datetime.datetime, begin: float) -> BackupSet:
        partial.drop_working_files()
        self.backend.commit(partial.set_id, text)
        backup_set = self._load(partial.set_id)
        self.record(backup_set, self._passed(backup_set, now, begin))
        self.catalog()
        return self._load(partial.set_id)

    def catalog(self) -> None:
        """Have the next list be cheap, where that takes something."""
        if self.backend.catalogs:
            try:
                self.list_sets(remember=True)
            except RecoveryError as exc:
                display.warning("Lists of %s take longer than they could: %s" % (self.path, exc))

    def pin(self, set_id: str, reason: str, now: datetime.datetime, pretend: bool = False) -> bool:
        """Keep a set whatever a policy says, or, without a reason, let it be pruned like others.

        :param pretend: change nothing.
        :returns: whether that was not so before.
        :raises InputError: when there is no such set.
        """
        backup_set, reason = self.get(set_id, recheck=True), " ".join(reason.split())
        changes = backup_set.pinned != reason
        if changes and not pretend:
            self._notes.save_pin(backup_set.set_id, reason, now)
        return changes

    def accepted(self) -> str:
        """Return the id of the newest set whose losses somebody accepted; empty when there is none."""
        return self._notes.accepted()

    def accept(self, set_id: str, now: datetime.datetime) -> None:
        """Accept what the sets up to this one lost against those before them."""
        self._notes.save_accepted(set_id, now)

    def exists(self) -> bool:
        """Tell whether there is anything of the instance."""
        return self.backend.sets.exists()

    def removal(self) -> SetRemoval:
        """Return what removes sets."""
        return SetRemoval(self.backend, self._notes)

    def _passed(self, backup_set: BackupSet, now: datetime.datetime, begin: float) -> dict[str, t.Any]:
        record = new_check(LEVELS[0], now, backup_set.manifest_sha256)
        artifacts, seconds = len(backup_set.manifest["artifacts"]), round(time.monotonic() - begin, 3)
        return dict(record, artifacts=artifacts, bytes=backup_set.size, seconds=seconds)

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


def _shown(backend: Backend) -> list[str]:
    """Return the names of sets, notes and what is unfinished; hidden ones are a backend's own."""
    return [name for name in backend.names() if not name.startswith(".")]
