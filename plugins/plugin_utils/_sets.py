# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What a store holds: sets, and what is none. Whatever store it is."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _manifest
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._folder import Folder

LATEST = "latest"
BEING_WRITTEN = "being written"
HALF_REMOVED = "half removed; the next prune removes the rest"


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something in the store that is not a set, and why."""

    name: str
    reason: str
    unfinished: bool = False


@dataclasses.dataclass(frozen=True)
class BackupSet:
    """A published set: where it lies, its manifest and that one's SHA-256.

    :ivar verified: the records of its verifications, see ``_notes``.
    :ivar pinned: why it is kept whatever a policy says; empty when it is not pinned.
    """

    folder: Folder
    manifest: dict[str, t.Any]
    manifest_sha256: str
    verified: list[dict[str, t.Any]]
    pinned: str

    @property
    def path(self) -> str:
        """What an operator calls its folder."""
        return self.folder.location

    @property
    def set_id(self) -> str:
        """The id, which is also the folder's name."""
        return str(self.manifest["id"])

    @property
    def restore_id(self) -> str:
        """For a safety set the id of the restore before which it was made; empty for a backup."""
        return str(self.manifest["restore_id"]) if self.manifest.get("purpose") == _manifest.SAFETY else ""

    @property
    def size(self) -> int:
        """Stored bytes of all artifacts."""
        return sum(artifact["size"] for artifact in self.manifest["artifacts"])

    @property
    def recipients(self) -> list[str]:
        """Public keys that it is encrypted to; none for a plain set."""
        return _manifest.recipients_of(self.manifest)


def brief(manifest: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return what lists and retention need of a manifest. Pure.

    Of the tables that is the number of rows: the rest of what they must equal is most of a manifest, and nobody
    compares all sets with anything. Nor is a bucket's index of use to them.
    """
    components = {}
    for name, record in manifest["components"].items():
        components[name] = {field: value for field, value in record.items() if field != "known"}
        tables = (record.get("fingerprint") or {}).get("tables")
        if isinstance(tables, dict):
            kept = {one: {key: said[key] for key in ("rows", "data") if key in said} for one, said in tables.items()}
            components[name]["fingerprint"] = {"tables": kept}
    return dict(manifest, components=components)
