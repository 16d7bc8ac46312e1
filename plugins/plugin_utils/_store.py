# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The store: what holds the backup sets of each instance.

A set becomes visible at once, after every artifact was read back. Whatever has no valid manifest is not a set; it is
reported with the reason.
"""

from __future__ import annotations

import datetime
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
    check_id,
    check_instance_name,
    is_id,
    new_id,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _writer
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._backend import (
    DirectoryBackend,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._backend_s3 import S3Backend
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._encrypted import DecryptingSource
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._notes import (
    LEVELS,
    new_check,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._partial import PartialSet
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._reading import ReadableStore, shown
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._removal import SetRemoval
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_client import (
    S3_SPEC,
    Location,
    is_location,
    make_client,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sets import (
    BackupSet,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._stored import (
    check_sums,
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


class Store(ReadableStore):
    """The sets of one instance, for who makes some, and says something of them."""

    def open(self, now: datetime.datetime, entropy: bytes, pid: int, recipients: t.Sequence[str] = ()) -> PartialSet:
        """Start a set, after clearing unfinished ones whose run is dead.

        :param recipients: public keys, checked before, that all of it is encrypted to; none for a plain set.
        :raises StateError: while another run writes a set of the instance, or removes some.
        :raises RecoveryError: when the store cannot be written.
        """
        return _writer.begin(self.backend, lambda: self._partial(self.propose(now, entropy)), now, pid, recipients)

    def open_copy(self, set_id: str, now: datetime.datetime, pid: int, recipients: t.Sequence[str]) -> PartialSet:
        """Start a set that keeps the id that it has in another store; else as :meth:`open`.

        :raises StateError: also when the set is there, or somebody else may still copy it.
        """

        def choose() -> PartialSet:
            # Nobody else begins or removes one now; a moment ago this was not so.
            if self.published(set_id):
                raise StateError("%s came into %s meanwhile" % (set_id, self.path), "Copy again: it is left alone then")
            partial = self._partial(set_id)
            if partial.folder.exists():
                raise StateError("%s is being written by %s" % (partial.path, partial.writer()), "Try again in a day")
            # What is left of an earlier one, and was recorded of it, perhaps that it was damaged.
            self.removal().finish(set_id)
            return partial

        return _writer.begin(self.backend, choose, now, pid, recipients)

    def propose(self, now: datetime.datetime, entropy: bytes) -> str:
        """Return an id for a new set: it sorts after all that are there, even when the clock went back."""
        ids = {name[: len("20260101T000000Z-0000")] for name in shown(self.backend)}
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

    def clear_dead(self) -> list[str]:
        """Remove unfinished sets that no living run writes and return their names."""
        return _writer.clear_dead(self.backend)

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
        read_back(partial.folder, manifest["artifacts"], partial.heartbeat)
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
        read_back(partial.folder, manifest["artifacts"], partial.heartbeat)
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

    def removal(self) -> SetRemoval:
        """Return what removes sets."""
        return SetRemoval(self.backend, self._notes)

    def _passed(self, backup_set: BackupSet, now: datetime.datetime, begin: float) -> dict[str, t.Any]:
        record = new_check(LEVELS[0], now, backup_set.manifest_sha256)
        artifacts, seconds = len(backup_set.manifest["artifacts"]), round(time.monotonic() - begin, 3)
        return dict(record, artifacts=artifacts, bytes=backup_set.size, seconds=seconds)
