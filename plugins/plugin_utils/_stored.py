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


def sums_text(artifacts: t.Iterable[dict[str, t.Any]]) -> bytes:
    """Return what C(sha256sum -c) accepts; paths have no character that it would escape."""
    return "".join("%s  %s\n" % (artifact["sha256"], artifact["path"]) for artifact in artifacts).encode("utf-8")


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


def read_manifest(path: str) -> bytes:
    """Return the text of the manifest in a set's folder."""
    name = os.path.join(path, _manifest.MANIFEST_NAME)
    try:
        with open(name, "rb") as manifest:
            return manifest.read(_MANIFEST_LIMIT)
    except FileNotFoundError as exc:
        raise IntegrityError("There is no manifest in %s" % path, "The set is not complete: use another one") from exc
    except OSError as exc:
        raise as_error("read", name, exc) from exc


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


def check_sums(path: str, artifacts: t.Iterable[dict[str, t.Any]]) -> None:
    """Refuse a SHA256SUMS that does not say what the manifest says."""
    name = os.path.join(path, _manifest.SUMS_NAME)
    try:
        with open(name, "rb") as sums:
            same = sums.read() == sums_text(artifacts)
    except OSError as exc:
        raise IntegrityError("%s cannot be read: %s" % (name, exc.strerror)) from exc
    if not same:
        raise IntegrityError("%s does not say what the manifest says" % name)
