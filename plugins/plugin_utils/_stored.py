# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What lies in the folder of a set, read and compared with what its manifest says."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _manifest
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import DirectorySource, as_error

_MANIFEST_LIMIT = 512 * 1024 * 1024


def read_back(source: DirectorySource, artifacts: t.Iterable[dict[str, t.Any]]) -> None:
    """Read each artifact from disk to its end.

    :raises IntegrityError: when one differs from its record.
    """
    for artifact in artifacts:
        _forget_cache(os.path.join(source.src, artifact["path"]))
        with source.artifact(artifact["path"]) as inp:
            inp.drain()


def _forget_cache(path: str) -> None:
    """Let the next read come from the disk rather than from memory, where the system allows it."""
    try:
        with open(path, "rb") as artifact:
            os.posix_fadvise(artifact.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError:
        # Reading it will tell what is wrong.
        return


def load_manifest(path: str) -> tuple[dict[str, t.Any], bytes]:
    """Return the manifest in a set's folder, and its text.

    :raises IntegrityError: when there is none, or it is not valid.
    """
    text = _read(path, _manifest.MANIFEST_NAME, "manifest")
    try:
        return _manifest.load(text), text
    except IntegrityError as exc:
        exc.cause = "%s: %s" % (os.path.join(path, _manifest.MANIFEST_NAME), exc.cause)
        raise


def check_sums(path: str, manifest: dict[str, t.Any], text: bytes) -> None:
    """Refuse a manifest and a SHA256SUMS that contradict each other: see :func:`_manifest.check_sums`."""
    seal = read_seal(path) if _manifest.recipients_of(manifest) else b""
    sums = _read(path, _manifest.SUMS_NAME, _manifest.SUMS_NAME)
    _manifest.check_sums(path, text, manifest["artifacts"], sums, seal)


def read_seal(path: str) -> bytes:
    """Return the encrypted checksum of the manifest in an encrypted set's folder."""
    return _read(path, _manifest.SEAL_NAME, _manifest.SEAL_NAME)


def _read(path: str, name: str, what: str) -> bytes:
    full = os.path.join(path, name)
    try:
        with open(full, "rb") as stream:
            return stream.read(_MANIFEST_LIMIT)
    except FileNotFoundError as exc:
        raise IntegrityError("There is no %s in %s" % (what, path), "The set is not complete: use another one") from exc
    except OSError as exc:
        raise as_error("read", full, exc) from exc


def check_stored_size(path: str, artifact: dict[str, t.Any]) -> None:
    """Refuse an artifact that is missing or not as long as it was recorded."""
    full = os.path.join(path, artifact["path"])
    try:
        size = os.lstat(full).st_size
    except OSError as exc:
        raise IntegrityError("The artifact %s is missing" % full, "The set is damaged: use another one") from exc
    if size != artifact["size"]:
        raise IntegrityError(
            "%s holds %d bytes; %d were recorded" % (full, size, artifact["size"]),
            "The set is damaged: use another one",
        )
