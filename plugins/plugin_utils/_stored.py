# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What lies in the folder of a set, read and compared with what its manifest says."""

from __future__ import annotations

import hashlib
import shlex
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _manifest
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import BLOCK
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._folder import Folder
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._restore_text import render

_OWN = (_manifest.MANIFEST_NAME, _manifest.SUMS_NAME, _manifest.SEAL_NAME, _manifest.RESTORE_NAME)


def read_back(
    folder: Folder, artifacts: t.Sequence[dict[str, t.Any]], beat: t.Callable[[], None] = lambda: None
) -> None:
    """Read each artifact to its end, from where it lies rather than from memory where the system allows that.

    :param beat: called with each block: a large set takes its time, and its writer lives meanwhile.
    :raises IntegrityError: when one differs from its record.
    """
    source = folder.source(artifacts, cached=False)
    for artifact in artifacts:
        with source.artifact(artifact["path"]) as inp:
            while inp.read(BLOCK):
                beat()


def load_manifest(folder: Folder) -> tuple[dict[str, t.Any], bytes]:
    """Return the manifest in a set's folder, and its text.

    :raises IntegrityError: when there is none, or it is not valid.
    """
    text = _read(folder, _manifest.MANIFEST_NAME, "manifest")
    try:
        return _manifest.load(text), text
    except IntegrityError as exc:
        exc.cause = "%s: %s" % (folder.at(_manifest.MANIFEST_NAME), exc.cause)
        raise


def check_sums(folder: Folder, manifest: dict[str, t.Any], text: bytes) -> None:
    """Refuse a manifest that SHA256SUMS or RESTORE.md contradict: see :func:`_manifest.check_sums`."""
    seal = read_seal(folder) if _manifest.recipients_of(manifest) else b""
    sums = _read(folder, _manifest.SUMS_NAME, _manifest.SUMS_NAME)
    _manifest.check_sums(folder.location, text, manifest, sums, seal)
    check_instructions(folder, manifest)


def write_instructions(folder: Folder, manifest: dict[str, t.Any]) -> dict[str, t.Any]:
    """Write RESTORE.md into a set's folder, and return the manifest that records it."""
    text = render(manifest)
    folder.write(_manifest.RESTORE_NAME, text, 0o400)
    sha256 = hashlib.sha256(text).hexdigest()
    return dict(manifest, instructions={"path": _manifest.RESTORE_NAME, "size": len(text), "sha256": sha256})


def check_instructions(folder: Folder, manifest: dict[str, t.Any]) -> None:
    """Refuse a RESTORE.md that is not the one that the set was saved with; the first sets have none.

    :raises IntegrityError: when it was altered, is missing, or is there and not recorded.
    """
    recorded, text = manifest.get("instructions"), folder.read(_manifest.RESTORE_NAME)
    hint = "Do not follow its commands, and use another backup set"
    if text is None and recorded:
        raise IntegrityError(
            "There is no %s in %s" % (_manifest.RESTORE_NAME, folder.location),
            "The set is not complete: use another one",
        )
    if text is None:
        return
    path, found = folder.at(_manifest.RESTORE_NAME), hashlib.sha256(text).hexdigest()
    if not recorded:
        raise IntegrityError("%s is not of the backup set, which was saved without one" % path, hint)
    if found != recorded["sha256"]:
        raise IntegrityError("%s has SHA-256 %s; %s was recorded" % (path, found, recorded["sha256"]), hint)


def read_seal(folder: Folder) -> bytes:
    """Return the encrypted checksum of the manifest in an encrypted set's folder."""
    return _read(folder, _manifest.SEAL_NAME, _manifest.SEAL_NAME)


def _read(folder: Folder, name: str, what: str) -> bytes:
    found = folder.read(name)
    if found is None:
        raise IntegrityError(
            "There is no %s in %s" % (what, folder.location), "The set is not complete: use another one"
        )
    return found


def check_stored_files(folder: Folder, manifest: dict[str, t.Any]) -> None:
    """Refuse a set of which an artifact is missing or not as long as it was recorded, and one with files of others.

    Whoever restores by hand could take another file for an artifact. Hidden ones are what systems leave behind.
    """
    files, artifacts = folder.files(), manifest["artifacts"]
    own = {*_OWN, *(artifact["path"] for artifact in artifacts)}
    for name in sorted(files):
        if name not in own and not any(part.startswith(".") for part in name.split("/")):
            raise IntegrityError(
                "%s is not in the manifest of the set" % folder.at(name),
                "Somebody put it there. Find out who and why, then move it away or use another set",
                "ls -l %s" % shlex.quote(folder.at(name)),
            )
    for artifact in [*artifacts, *([manifest["instructions"]] if "instructions" in manifest else [])]:
        full, size = folder.at(artifact["path"]), files.get(artifact["path"])
        if size is None:
            raise IntegrityError("The artifact %s is missing" % full, "The set is damaged: use another one")
        if size != artifact["size"]:
            raise IntegrityError(
                "%s holds %d bytes; %d were recorded" % (full, size, artifact["size"]),
                "The set is damaged: use another one",
            )
