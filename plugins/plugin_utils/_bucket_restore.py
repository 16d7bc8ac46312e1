# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""A bucket restored: new objects are proved beside the live ones, exchanged by the endpoint, and can be put back.

There is no rename in S3. What is new is written below C(authentik-new-<id>/) and read back. A swap first copies what
it will replace or delete to C(authentik-before-<id>/), then writes down there what it will do, and only then copies the
new objects to their keys. Each copy is made within the bucket. Whatever is killed, the journal says where to go on.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _object_index as index_of
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError, StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import BLOCK
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import (
    check_id,
    count,
    format_bytes,
    is_id,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_names import check_new
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_objects import Saved, name_all_here
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_plan import Listed
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_read import (
    Bucket,
    about,
    list_objects,
    list_sound,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_uploads import abort, unfinished
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_way_back import (
    BEFORE,
    NEW,
    damaged,
    is_back,
    later,
    no_way_back,
    other_bucket,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_location import MAX_KEY
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_objects import (
    copy,
    delete_many,
    folders,
    listing,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_reader import open_object
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_small import get_small, head, put_small
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_upload import Upload

_SMALL_BYTES = 4 * 1024**2
JOURNAL = "journal.json"
_JOURNAL_BYTES = 512 * 1024**2
_OBJECTS, _LONG = "objects", "objects-by-sha256"
_DELETED_AT_ONCE = 1000


def not_there(set_id: str) -> StateError:
    """Say what to do with a set's objects where the instance has its files on a disk."""
    return StateError(
        "The backup set %s holds files of S3, and this instance has its files on a disk" % set_id,
        "authentik_static_restore puts them there, with components: [s3]; so does the playbook",
        "ansible-playbook authentik_ops.recovery.restore -e authentik_backup_id=%s -e '%s'"
        % (set_id, json.dumps({"authentik_components": [index_of.COMPONENT]})),
    )


class Changes(t.NamedTuple):
    """What has to be done so that the bucket holds what the set does.

    :ivar put: entries of the index that are not there, or not so.
    :ivar removed: keys that the set does not have.
    :ivar replaced: how many of the ones to put are there in another form.
    :ivar said: what else the plan has to tell.
    """

    put: list[dict[str, t.Any]]
    removed: list[str]
    replaced: int
    said: tuple[str, ...]

    def lines(self, bucket: Bucket) -> list[str]:
        """Say it."""
        if not self.put and not self.removed:
            return [*self.said, "s3: %s is as the set has it" % bucket.place]
        return [
            *self.said,
            "s3: %s: %s new, %d replaced, %d deleted, %s to send"
            % (
                bucket.place,
                count(len(self.put) - self.replaced, "object"),
                self.replaced,
                len(self.removed),
                format_bytes(sum(entry["size"] for entry in self.put)),
            ),
        ]


class BucketRestore:
    """One restore of a bucket.

    :param restore_id: names what is kept.
    :param beat: called often, by several threads, and before anything is changed; what it raises ends the work.
    """

    def __init__(self, bucket: Bucket, restore_id: str, beat: t.Callable[[], None]) -> None:
        self._bucket = bucket
        self._client, self._place = bucket.client, bucket.place
        self._beat = beat
        #: Sentences for the operator.
        self.warnings: list[str] = []
        self._id = check_id(restore_id)
        self.new, self.before = NEW + restore_id, BEFORE + restore_id

    def changes(self, saved: Saved) -> Changes:
        """Compare the bucket with a set's objects, by the names that they have in it.

        :raises StateError: when the instance has some of them on a disk, or another default schema; or when a name
            of an object, in the bucket or of the set, is one that cannot be handled.
        """
        named = name_all_here(saved, self._bucket.folders, self._bucket.default_schema)
        told = [] if named.folders is None else [self._bucket._replace(folders=named.folders)]
        live = {one.key: one for bucket in told for one in list_sound(bucket, versions=False)}
        check_new(self._place, (entry["key"] for entry in named.objects))
        unsure = [entry for entry in named.objects if self._may_equal(entry, live.get(entry["key"]))]
        found = self._each(lambda one: head(self._client, self._place, one["key"]), unsure)
        equal = {
            entry["key"]
            for entry, now in zip(unsure, found, strict=True)
            if now is not None and about(now) == entry["about"]
        }
        put = [entry for entry in named.objects if entry["key"] not in equal]
        wanted = {entry["key"] for entry in named.objects}
        replaced = sum(entry["key"] in live for entry in put)
        return Changes(put, sorted(set(live) - wanted), replaced, (*saved.said, *named.said))

    @staticmethod
    def _may_equal(entry: dict[str, t.Any], live: Listed | None) -> bool:
        return live is not None and (live.size, live.etag) == (entry["size"], entry["etag"])

    def prepare(self, saved: Saved) -> Changes:
        """Write what has to change beside the live objects, and read it back. Nothing live is altered.

        :raises IntegrityError: when what is there is not what the set holds.
        """
        changes = self.changes(saved)
        self._clear(self.new)
        with concurrent.futures.ThreadPoolExecutor(self._client.options["parallel"], "bucket-write") as pool:
            running: list[concurrent.futures.Future[None]] = []
            for entry, content in saved.read(changes.put):
                self._beat()
                if entry["size"] > _SMALL_BYTES:
                    self._send_large(entry, content)
                    continue
                running.append(pool.submit(self._send, entry, _whole(content)))
                if len(running) >= 2 * self._client.options["parallel"]:
                    running.pop(0).result()
            for one in running:
                one.result()
        self._each(self._prove, changes.put)
        journal = {"put": {entry["key"]: entry["size"] for entry in changes.put}, "removed": changes.removed}
        self._write_journal(self.new, journal)
        return changes

    def swap(self) -> bool:
        """Put what was prepared in place, and tell whether there was anything.

        :raises StateError: when nothing was prepared.
        :raises IntegrityError: when the bucket is not as it should be then.
        """
        journal = self._journal(self.before)
        if journal is None or is_back(journal):
            journal = self._journal(self.new)
            if journal is None:
                raise StateError(
                    "Nothing is prepared in %s, so nothing was put in place" % self._place.url(self.new),
                    "Somebody removed it, or it never was: run the restore again",
                )
            if not journal["put"] and not journal["removed"]:
                self._clear(self.new)
                return False
            live = {one.key for one in list_objects(self._bucket, versions=False)}
            journal["saved"] = sorted(live.intersection([*journal["put"], *journal["removed"]]))
            journal["after"] = self._others()
            self._each(lambda key: self._copy(key, _kept(self.before, key)), journal["saved"])
            # From here on the way back is known.
            self._write_journal(self.before, journal)
        if self._journal(self.new) is not None:
            self._each(lambda key: self._copy(_kept(self.new, key), key), sorted(journal["put"]))
            self._delete(journal["removed"])
        sizes = {one.key: one.size for one in list_objects(self._bucket, versions=False)}
        wrong = [key for key, size in journal["put"].items() if sizes.get(key) != size]
        wrong += [key for key in journal["removed"] if key in sizes]
        if wrong:
            raise IntegrityError(
                "%s is not what was restored" % self._place.url(wrong[0]),
                "Somebody else writes to the bucket: stop that",
            )
        self._clear(self.new)
        return True

    def undo(self, pretend: bool = False, swapped: t.Mapping[str, t.Any] | None = None) -> list[str]:
        """Put back what a swap replaced, take away what it brought, and return what was done; empty for nothing.

        :param pretend: change nothing.
        :param swapped: what is known of the swap, as :meth:`told` told it. Without it, nothing to put back is no error.
        :raises OtherBucketError: the swap was in another bucket.
        :raises NoWayBackError: what it kept is gone, or a later restore exchanged more.
        """
        journal = self._journal(self.before)
        kept = {one.name for one in listing(self._client, self._place, self.before)}
        self._check_way_back(journal, kept, swapped or {})
        if not kept and not any(True for _one in listing(self._client, self._place, self.new)):
            if self.new in unfinished(self._bucket, self.new + "/", self._warn) and not pretend:
                self._clear(self.new)
            return []
        if journal is None or is_back(journal):
            said = "s3: what is left in %s and %s is taken away" % (self._place.url(self.new), self.before)
        else:
            came = sorted(set(journal["put"]) - set(journal["saved"]))
            objects = count(len(journal["saved"]), "object")
            said = "s3: %s: %s put back, %d taken away" % (self._place, objects, len(came))
        if pretend:
            return [said]
        if journal is not None and not is_back(journal):
            self._each(lambda key: self._copy(_kept(self.before, key), key), journal["saved"])
            self._delete(came)
            self._write_journal(self.before, {"back": True})
        self._clear(self.new)
        self._clear(self.before)
        return [said]

    def told(self, changes: Changes) -> dict[str, t.Any]:
        """Return what an undo has to be told of a swap of these changes. It holds no secrets."""
        changed = bool(changes.put or changes.removed)
        return {"bucket": self._place.bucket, "endpoint": self._client.endpoint, "changed": changed}

    def _check_way_back(
        self, journal: dict[str, t.Any] | None, kept: t.Collection[str], swapped: t.Mapping[str, t.Any]
    ) -> None:
        if swapped.get("changed") and swapped["bucket"] != self._place.bucket:
            raise other_bucket(self._id, swapped, self._bucket)
        if journal is None:
            # Before its journal is written a swap alters nothing live.
            if swapped.get("changed") and self._journal(self.new) is None:
                gone = "%s is gone" % self._place.url("%s/%s" % (self.before, JOURNAL))
                raise no_way_back(self._id, self._place, gone)
            return
        if is_back(journal):
            return
        lost = [key for key in journal["saved"] if _kept(self.before, key) not in kept]
        if lost:
            first = self._place.url(_kept(self.before, lost[0]))
            gone = "of %s, %d are gone, such as %s" % (count(len(journal["saved"]), "object"), len(lost), first)
            raise no_way_back(self._id, self._place, gone)
        others = {folder: self._journal(folder) or {} for folder in self._others()}
        after = [name for name, one in others.items() if not is_back(one) and self.before in one.get("after", ())]
        if after:
            raise later(self._id, max(after, key=lambda name: len(others[name]["after"])), self._place)

    def _others(self) -> list[str]:
        """Return the folders in which other restores keep what they replaced."""
        found = folders(self._client, self._place)
        return [one for one in found if one.startswith(BEFORE) and is_id(one[len(BEFORE) :]) and one != self.before]

    def _send(self, entry: dict[str, t.Any], data: bytes) -> None:
        self._beat()
        put_small(self._client, self._place, _kept(self.new, entry["key"]), data, extra=entry["about"])

    def _send_large(self, entry: dict[str, t.Any], content: index_of.Checked) -> None:
        self._beat()
        extra = {"Metadata": {}, **entry["about"]}
        with Upload(self._client, self._place, _kept(self.new, entry["key"]), extra) as out:
            while True:
                data = content.read(BLOCK)
                if not data:
                    break
                out.write(data)
                self._beat()

    def _prove(self, entry: dict[str, t.Any]) -> None:
        digest = hashlib.sha256()
        with open_object(self._client, self._place, _kept(self.new, entry["key"])) as reader:
            while True:
                data = reader.read(BLOCK)
                if not data:
                    break
                digest.update(data)
        if digest.hexdigest() != entry["sha256"] or about(reader.about) != entry["about"]:
            raise IntegrityError(
                "%s is not what was written: SHA-256 %s and %s, not %s and %s"
                % (reader.path, digest.hexdigest(), about(reader.about), entry["sha256"], entry["about"]),
                "Look for a proxy, and at the endpoint's disks",
            )

    def _copy(self, source: str, target: str) -> None:
        copy(self._client, (self._place, source), (self._place, target))

    def _delete(self, names: t.Sequence[str]) -> None:
        for start in range(0, len(names), _DELETED_AT_ONCE):
            self._beat()
            delete_many(self._client, self._place, names[start : start + _DELETED_AT_ONCE])

    def _each(self, work: t.Callable[[t.Any], t.Any], things: t.Sequence[t.Any]) -> list[t.Any]:
        def one(thing: t.Any) -> t.Any:
            self._beat()
            return work(thing)

        with concurrent.futures.ThreadPoolExecutor(self._client.options["parallel"], "bucket") as pool:
            return list(pool.map(one, things))

    def _write_journal(self, root: str, journal: dict[str, t.Any]) -> None:
        self._beat()
        put_small(self._client, self._place, "%s/%s" % (root, JOURNAL), json.dumps(journal).encode("ascii"))

    def _journal(self, root: str) -> dict[str, t.Any] | None:
        found = get_small(self._client, self._place, "%s/%s" % (root, JOURNAL), _JOURNAL_BYTES)
        if found is None:
            return None
        try:
            return dict(json.loads(found.data))
        except (ValueError, TypeError) as exc:
            raise damaged("%s/%s" % (self._place.url(root), JOURNAL), self._client.endpoint, exc) from exc

    def _clear(self, root: str) -> None:
        """Remove what is there. Of what was put back the journal goes last: it says so until all of it is gone.

        Else it is the first: nobody can follow it any more with half of it gone.
        """
        names = [one.name for one in listing(self._client, self._place, root)]
        own = "%s/%s" % (root, JOURNAL)
        journal = [own] if own in names else []
        rest = [name for name in names if name != own]
        for part in (rest, journal) if root == self.before else (journal, rest):
            self._delete(part)
        abort(self._bucket, root, self._warn)

    def _warn(self, sentence: str) -> None:
        if sentence not in self.warnings:
            self.warnings.append(sentence)


def _kept(root: str, key: str) -> str:
    kept = "%s/%s/%s" % (root, _OBJECTS, key)
    if len(kept.encode("utf-8", "surrogateescape")) <= MAX_KEY:
        return kept
    # No key has room for both. The journal has the one of which this is the digest.
    return "%s/%s/%s" % (root, _LONG, hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest())


def _whole(content: index_of.Checked) -> bytes:
    parts: list[bytes] = []
    while True:
        data = content.read(BLOCK)
        if not data:
            return b"".join(parts)
        parts.append(data)
