# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""A bucket saved into an unfinished set: what is new is read, what did not change is taken over from an earlier set."""

from __future__ import annotations

import base64
import binascii
import hashlib
import typing as t
import zlib

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _object_index as index_of
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError, RecoveryError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._manifest import artifacts_of, plain_path
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import count, format_bytes
from ansible_collections.authentik_ops.recovery.plugins.module_utils._tree_digest import printable
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _age
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_plan import Listed, compare, packs_to_keep
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_read import (
    Bucket,
    PackWriter,
    keeps_versions,
    list_sound,
    look_again,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._partial import PartialSet
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._progress import Progress
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sets import BackupSet
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._stored import read_back

_KNOWN = "known"
_SHOWN = 3


class Earlier(t.NamedTuple):
    """What an earlier set has of the bucket.

    :ivar objects: entries of its index.
    :ivar packs: the manifest's entries of the packs that are sound, by the paths in the index.
    """

    backup_set: BackupSet | None
    objects: list[dict[str, t.Any]]
    packs: dict[str, dict[str, t.Any]]


def find_earlier(sets: t.Iterable[BackupSet], bucket: Bucket, index_key: str, warn: t.Callable[[str], None]) -> Earlier:
    """Return what the newest of these sets that holds this bucket has of it.

    :param sets: newest first, with the same recipients as the new one.
    :param index_key: reads the index of an encrypted set.
    :param warn: gets what cannot be used, and is saved anew.
    """
    for backup_set in sets:
        record = backup_set.manifest["components"].get(index_of.COMPONENT)
        if not record or not record.get("artifacts"):
            continue
        if (record["bucket"], record["endpoint"]) != (bucket.place.bucket, bucket.client.endpoint):
            break
        try:
            index = _read_index(backup_set, record, index_key)
        except RecoveryError as exc:
            warn(
                "s3: all objects are read anew, since the index of set %s cannot be used: %s" % (backup_set.set_id, exc)
            )
            break
        if index is None:
            break
        return Earlier(backup_set, index["objects"], _sound_packs(backup_set, warn))
    return Earlier(None, [], {})


def _read_index(backup_set: BackupSet, record: dict[str, t.Any], index_key: str) -> dict[str, t.Any] | None:
    if not backup_set.recipients:
        return index_of.read_index(record, backup_set.folder.source(backup_set.manifest["artifacts"]))
    if not record.get(_KNOWN) or not index_key:
        return None
    text = read_known(record[_KNOWN], index_key)
    recorded = artifacts_of(backup_set.manifest, index_of.COMPONENT)
    own = next(one for one in recorded if plain_path(one["path"]) == index_of.INDEX)
    if hashlib.sha256(text).hexdigest() != own["plain_sha256"]:
        raise IntegrityError("it is not the one of that set")
    return index_of.load(text)


def make_known(text: bytes, index_key: str) -> str:
    """Return an index such that only who has the key reads it."""
    packed = zlib.compress(text)
    return base64.b64encode(_age.library().passphrase.encrypt(packed, index_key)).decode("ascii")


def read_known(known: str, index_key: str) -> bytes:
    """Return the index again.

    :raises IntegrityError: when this is not its key, or it was altered.
    """
    pyrage = _age.library()
    try:
        return zlib.decompress(pyrage.passphrase.decrypt(base64.b64decode(known, validate=True), index_key))
    except (pyrage.DecryptError, binascii.Error, zlib.error) as exc:
        raise IntegrityError(
            "it cannot be decrypted with authentik's secret key of now", "That is so once after the key was changed"
        ) from exc


def _sound_packs(backup_set: BackupSet, warn: t.Callable[[str], None]) -> dict[str, dict[str, t.Any]]:
    sound = {}
    for artifact in artifacts_of(backup_set.manifest, index_of.COMPONENT):
        path = plain_path(artifact["path"]) if backup_set.recipients else artifact["path"]
        if path == index_of.INDEX:
            continue
        try:
            read_back(backup_set.folder, [artifact])
        except RecoveryError as exc:
            warn(
                "s3: %s of set %s is damaged, and its objects are read anew: %s" % (path, backup_set.set_id, exc.cause)
            )
            continue
        sound[path] = artifact
    return sound


class Saving:
    """One run.

    :param index_key: keeps the index of an encrypted set readable for the next run; empty where there is none.
    :param beat: called often.
    """

    def __init__(
        self, bucket: Bucket, partial: PartialSet, index_key: str, progress: Progress, beat: t.Callable[[], None]
    ) -> None:
        self._bucket = bucket
        self._partial = partial
        self._index_key = index_key
        self._progress = progress
        self._beat = beat
        self.warnings: list[str] = []

    def save(self, sets: t.Sequence[BackupSet]) -> dict[str, t.Any]:
        """Save the bucket, keep its record with the unfinished set, and return what a result may show of that.

        :param sets: earlier ones, as in :func:`find_earlier`.
        :raises RecoveryError: when an object cannot be read.
        """
        versions = keeps_versions(self._bucket)
        listed = list_sound(self._bucket, versions)
        earlier = find_earlier(sets, self._bucket, self._index_key, self.warnings.append)
        sizes = {path: artifact["plain_size"] for path, artifact in earlier.packs.items()}
        keep = packs_to_keep(listed, earlier.objects, sizes)
        plan = compare(listed, earlier.objects, keep)
        touched, changed = look_again(self._bucket, plan.touched)
        wanted = sorted([*plan.read, *changed])
        read, gone, artifacts = self._read(wanted)
        objects = sorted([*plan.kept, *touched, *read], key=lambda entry: entry["key"])
        artifacts += self._link(earlier, {entry["pack"] for entry in objects})
        index = index_of.dump(
            {
                "bucket": self._bucket.place.bucket,
                "endpoint": self._bucket.client.endpoint,
                "folders": list(self._bucket.folders),
                "default_schema": self._bucket.default_schema,
                "versioned": versions,
                "objects": objects,
            }
        )
        artifacts.insert(0, self._store(index_of.INDEX, lambda out: out.write(index)))
        if not objects:
            self.warnings.append("s3: %s holds no files of the instance" % self._bucket.place)
        self.warnings += _not_saved(self._bucket)
        record = self._record(objects, versions, index, artifacts)
        self._partial.save_record(record, artifacts)
        known = {entry["key"] for entry in earlier.objects}
        return {
            "component": index_of.COMPONENT,
            "bucket": self._bucket.place.bucket,
            "artifacts": record["artifacts"],
            "objects": len(objects),
            "bytes": record["fingerprint"]["bytes"],
            "read": len(read),
            "read_bytes": sum(entry["size"] for entry in read),
            "deleted": len(plan.deleted) + len(known.intersection(gone)),
            "unchanged_since": earlier.backup_set.set_id if earlier.backup_set and not read else None,
            "warnings": self.warnings,
        }

    def _record(
        self, objects: list[dict[str, t.Any]], versions: bool, index: bytes, artifacts: list[dict[str, t.Any]]
    ) -> dict[str, t.Any]:
        record = {
            "component": index_of.COMPONENT,
            "bucket": self._bucket.place.bucket,
            "endpoint": self._bucket.client.endpoint,
            "folders": list(self._bucket.folders),
            "default_schema": self._bucket.default_schema,
            "versioned": versions,
            "fingerprint": index_of.fingerprint(objects),
            "artifacts": [{"path": artifact["path"]} for artifact in artifacts],
            "warnings": self.warnings,
        }
        if self._partial.recipients and self._index_key:
            record[_KNOWN] = make_known(index, self._index_key)
        elif self._partial.recipients:
            self.warnings.append(
                "s3: the next backup reads all objects anew, since authentik's secret key is not known"
            )
        return record

    def _read(self, wanted: list[Listed]) -> tuple[list[dict[str, t.Any]], list[str], list[dict[str, t.Any]]]:
        if not wanted:
            return [], [], []
        path = index_of.pack_path(self._partial.set_id)
        self._progress.begin(path, sum(one.size for one in wanted), estimated=False)
        found: list[t.Any] = []

        def fill(out: t.Any) -> None:
            found.extend(PackWriter(self._bucket, out, path, self._passed).write(wanted))

        artifact = self._store(path, fill)
        return found[0], found[1], [artifact]

    def _passed(self, size: int) -> None:
        self._progress.add(size)
        self._beat()

    def _store(self, path: str, fill: t.Callable[[t.Any], t.Any]) -> dict[str, t.Any]:
        begin = self._progress.seconds
        with self._partial.sink().artifact(path) as out:
            fill(out)
        seconds = round(max(self._progress.seconds - begin, 0.0), 3)
        return {
            **out.entry(),
            "component": index_of.COMPONENT,
            "compression": "none",
            "linked_from": None,
            "tool": None,
            "seconds": seconds,
            "bytes_per_second": int(out.size / seconds) if seconds else out.size,
        }

    def _link(self, earlier: Earlier, used: set[str]) -> list[dict[str, t.Any]]:
        linked: list[dict[str, t.Any]] = []
        if earlier.backup_set is None:
            return linked
        for path in sorted(used & set(earlier.packs)):
            self._partial.link(earlier.backup_set.folder, earlier.packs[path])
            linked.append(
                dict(earlier.packs[path], linked_from=earlier.backup_set.set_id, seconds=0, bytes_per_second=0)
            )
        return linked


def _not_saved(bucket: Bucket) -> list[str]:
    others = bucket.unknown()
    if not others:
        return []
    return [
        "s3: %s of %s not saved, because this instance has only %s/ (postgresql.default_schema) and t_*/ there: %s%s. "
        "If they are its own, give authentik_postgresql_default_schema"
        % (
            "1 name is" if len(others) == 1 else "%d names are" % len(others),
            bucket.place,
            bucket.default_schema,
            ", ".join(printable(name.encode("utf-8", "surrogateescape")) for name in others[:_SHOWN]),
            " and %d more" % (len(others) - _SHOWN) if len(others) > _SHOWN else "",
        )
    ]


def would_save(bucket: Bucket) -> str:
    """Say what a backup would save."""
    listed = list_sound(bucket, versions=False)
    return "s3: %s, %s, %s" % (
        bucket.place,
        count(len(listed), "object"),
        format_bytes(sum(one.size for one in listed)),
    )
