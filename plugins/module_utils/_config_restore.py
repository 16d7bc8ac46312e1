# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The configuration comes back file by file: what is missing is put back, what is equal stays, what differs is only
replaced when asked for.

``<work_dir>/<restore id>/config/`` holds ``plan.json`` and the files to come, from prepare on. Beside a replaced file
stays ``<file>.before-<restore id>``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from typing import TYPE_CHECKING

from ansible_collections.authentik_ops.recovery.plugins.module_utils import (
    _config,
    _config_apply,
    _mounts,
    _space,
    _tar_codec,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._config_apply import Item
from ansible_collections.authentik_ops.recovery.plugins.module_utils._config_place import Placement
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    IntegrityError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import (
    make_private_directories,
    write_private,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._manifest import artifacts_of
from ansible_collections.authentik_ops.recovery.plugins.module_utils._process import find_program, run
from ansible_collections.authentik_ops.recovery.plugins.module_utils._tar_extract import foreign_owners
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import format_bytes
from ansible_collections.authentik_ops.recovery.plugins.module_utils._tree_digest import TreeDigest, differences

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import DirectorySource
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._spool_source import SpoolSource
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._tar import TarReader
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._tree_digest import Entry

#: Configuration files are small; a bigger member is not one.
_LARGEST = 64 * 1024 * 1024
_CHANGES = ("mkdir", "create", "replace")


class ConfigRestore:
    """One restore of the component ``config``.

    :param overwrite: replace files that differ.
    :param directory: another project directory for the files of a compose project.
    :param environment: variables to set in that project's ``.env``.
    :ivar space: what :meth:`check` found to be needed, see ``_space.part``.
    """

    def __init__(
        self,
        manifest: dict[str, Any],
        restore_id: str,
        work_dir: str,
        overwrite: bool,
        directory: str | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        record = manifest["components"].get("config")
        if record is None:
            raise InputError(
                "The backup set holds no configuration",
                "Leave config out of the components to restore. The set holds: %s"
                % ", ".join(sorted(manifest["components"])),
            )
        self._record = dict(record, artifacts=artifacts_of(manifest, "config"))
        self._fingerprint = manifest["instance"].get("secret_key_fingerprint")
        self._id = restore_id
        self._parent = os.path.join(work_dir, restore_id)
        self._folder = os.path.join(self._parent, "config")
        self._overwrite = overwrite
        self._placement = Placement(self._record, directory, environment)
        self.space: list[dict[str, Any]] = []

    def secret_key(self, live: str | None) -> tuple[str, list[str]]:
        """``same``, ``different`` or ``unknown``, and what that means for the plan."""
        state = _config.compare_secret_key(self._fingerprint, live)
        if state == "different":
            return state, [
                "SECRET KEY DIFFERS: authentik is configured with another secret key than when the backup was made."
                " With it, every session and every signed link of the restored database is invalid: all users have to"
                " log in again. Before authentik 2023.6 the key was also part of every user's unique ID: there, bring"
                " back the backup's key before authentik starts. overwrite: true brings back the backup's configuration"
            ]
        if state == "unknown":
            return state, ["The secret key could not be compared: %s" % self._why_unknown(live)]
        return state, []

    def _why_unknown(self, live: str | None) -> str:
        if not live:
            return "authentik's present configuration has none that could be found"
        return "the backup set has no fingerprint of it that this version can read"

    def check(self, source: DirectorySource | SpoolSource) -> tuple[list[Item], list[str]]:
        """Read the whole archive and compare it with the files, changing nothing.

        :returns: what would change, and sentences for the plan.
        :raises StateError: something stands in the way.
        """
        items, sizes = [], {}
        for item, content in self._compare(source):
            items.append(item)
            if item.action in ("create", "replace"):
                sizes[item.path] = len(content)
        blockers = [item.blocker for item in items if item.blocker]
        if blockers:
            raise StateError(
                "The configuration cannot be restored: %s" % "; ".join(blockers),
                "Correct that, or leave config out of the components to restore",
            )
        changes = [item for item in items if item.action in _CHANGES]
        self.space = self._needs(sizes)
        return changes, self._sentences(item.sentence(self._id) for item in items)

    def _needs(self, sizes: dict[str, int]) -> list[dict[str, Any]]:
        """Return what the files need, by path: once in the work folder, and once where they belong."""
        found = [(_mounts.file_system(self._folder), "the configuration to come", sum(sizes.values()))]
        found += [(_mounts.file_system(path), "the configuration", size) for path, size in sizes.items()]
        by_place: dict[tuple[str, str], dict[str, Any]] = {}
        for place, what, size in found if sizes else []:
            one = by_place.setdefault((what, place.device or place.path), _space.part("config", what, place, 0))
            one["needed"] += size
        return list(by_place.values())

    def prepare(self, source: DirectorySource | SpoolSource) -> list[str]:
        """Keep the files to come, and what is to be done with each, in the work folder.

        :returns: sentences.
        """
        if self._is_begun():
            raise StateError(
                "The configuration was swapped in already", "Run step: undo first, or use a new restore_id"
            )
        shutil.rmtree(self._folder, ignore_errors=True)
        make_private_directories(os.path.join(self._folder, "new"))
        kept: list[Item] = []
        sentences = []
        for item, content in self._compare(source):
            if item.blocker:
                raise StateError("The configuration cannot be restored: %s" % item.blocker)
            if item.action in ("create", "replace") and item.kind == "f":
                item = item._replace(content=os.path.join("new", "%d" % len(kept)))
                write_private(os.path.join(self._folder, item.content), content)
            if item.action in _CHANGES:
                kept.append(item)
            sentences.append(item.sentence(self._id))
        self._write_state("prepared", kept)
        return self._sentences(sentences)

    def swap(self) -> list[str]:
        """Put the files in place; sentences, none when that was done already.

        :raises StateError: nothing was prepared.
        """
        state = self._read_state()
        if state is None:
            raise StateError(
                "No configuration is prepared (%s does not exist)" % self._folder, "Run step: prepare first"
            )
        name, items = state
        if name == "swapped":
            return []
        self._write_state("swapping", items)
        done = [sentence for item in items for sentence in _config_apply.put(item, self._folder, self._id)]
        _reload_units(items, done)
        self._write_state("swapped", items)
        return done

    def undo(self, pretend: bool = False) -> list[str]:
        """Put back what was before and drop what was prepared; sentences, none when there was nothing to do."""
        state = self._read_state()
        done: list[str] = []
        if state is not None and state[0] != "prepared":
            for item in reversed(state[1]):
                done += _config_apply.take_back(item, self._folder, self._id, pretend)
            if not pretend:
                _reload_units(state[1], done)
        if os.path.isdir(self._folder):
            done.append("config: %s was removed" % self._folder)
            if not pretend:
                shutil.rmtree(self._folder)
                _remove_if_empty(self._parent)
        return done

    def _compare(self, source: DirectorySource | SpoolSource) -> Iterator[tuple[Item, bytes]]:
        digest = TreeDigest()
        with _tar_codec.open_archive(self._record, source) as reader:
            for entry, content in self._placement.apply(self._members(reader, digest)):
                yield self._item(entry, content), content
            key = _config.archive_key(reader.comment)
        said = differences(self._record["fingerprint"], digest.fingerprint(key))
        if said:
            raise IntegrityError(
                "%s is not equal to the backup's fingerprint: %s"
                % (self._record["artifacts"][0]["path"], "; ".join(said)),
                "Nothing was changed; choose another backup set",
            )

    def _members(self, reader: TarReader, digest: TreeDigest) -> Iterator[tuple[Entry, bytes]]:
        for member in reader.members():
            entry = member.entry
            if member.link_to is not None or entry.size > _LARGEST:
                what = "is a hard link" if member.link_to is not None else "holds %s" % format_bytes(entry.size)
                raise IntegrityError(
                    "The member %s of the configuration's archive %s" % (os.fsdecode(entry.path), what),
                    "The collection never writes such an archive; choose another backup set",
                )
            content = b"".join(member.chunks())
            digest.add(entry, hashlib.sha256(content).digest())
            if entry.path != b"." and not _config.is_generated(entry.path):
                yield entry, content

    def _item(self, entry: Entry, content: bytes) -> Item:
        item = _config_apply.compare(entry, content, self._overwrite)
        if item.action in _CHANGES and foreign_owners(entry):
            return item._replace(
                blocker="%s; only root restores owners: run the task with become: true" % foreign_owners(entry)
            )
        if item.action == "keep" and item.path in self._placement.edited:
            return item._replace(
                blocker="%s exists and differs, so no variable can be set in it without overwrite: true" % item.path
            )
        return item

    def _sentences(self, of_items: Iterable[str]) -> list[str]:
        return [sentence for sentence in of_items if sentence] + self._placement.said

    def _is_begun(self) -> bool:
        state = self._read_state()
        return state is not None and state[0] != "prepared"

    def _read_state(self) -> tuple[str, list[Item]] | None:
        path = os.path.join(self._folder, "plan.json")
        try:
            with open(path, encoding="utf-8") as stream:
                state = json.load(stream)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as exc:
            raise StateError(
                "%s cannot be read: %s" % (path, exc), "Run the task as the user that ran prepare"
            ) from exc
        return state["state"], [Item(**item) for item in state["items"]]

    def _write_state(self, name: str, items: list[Item]) -> None:
        state = {"state": name, "items": [item._asdict() for item in items]}
        write_private(os.path.join(self._folder, "plan.json"), json.dumps(state).encode("ascii"))


def _reload_units(items: list[Item], done: list[str]) -> None:
    """Have systemd read unit files again that were exchanged."""
    touched = any("/systemd/" in item.path for item in items)
    program = find_program("systemctl")
    if done and touched and program and os.geteuid() == 0 and os.path.isdir("/run/systemd/system"):
        run([program, "daemon-reload"], timeout=120)


def _remove_if_empty(path: str) -> None:
    try:
        os.rmdir(path)
    except OSError:
        pass  # another component's files are still in there
