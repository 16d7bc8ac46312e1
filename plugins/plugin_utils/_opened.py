# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""An encrypted set opened with an identity: the seal of its manifest, then its artifacts."""

from __future__ import annotations

import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _manifest
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError, IntegrityError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._age import WrongIdentityError, decrypt_bytes
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._encrypted import DecryptingSource
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._folder import Folder, Source
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._identity import HOW, IdentitySource
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._stored import load_manifest, read_seal


class Published(t.Protocol):
    """What it takes of a set in the store."""

    @property
    def folder(self) -> Folder:
        """Where it lies."""

    @property
    def manifest(self) -> dict[str, t.Any]:
        """Its manifest."""


def plain_source(backup_set: Published, identity: IdentitySource) -> Source:
    """Return what reads and compares the content of a set's artifacts, decrypted where they are encrypted.

    :raises RecoveryError: when the set is encrypted, as in :func:`decrypting_source`.
    """
    if _manifest.recipients_of(backup_set.manifest):
        return decrypting_source(backup_set, identity)
    return backup_set.folder.source(backup_set.manifest["artifacts"])


def decrypting_source(backup_set: Published, identity: IdentitySource) -> DecryptingSource:
    """Return what decrypts an encrypted set, once its manifest is the one that was sealed.

    :raises InputError: when no identity is given, or none of them is that of a recipient.
    :raises IntegrityError: when the manifest, or its seal, was altered.
    """
    folder, manifest = backup_set.folder, backup_set.manifest
    who = "The backup set %s is encrypted to %s" % (manifest["id"], ", ".join(_manifest.recipients_of(manifest)))
    identities = identity.load()
    if not identities:
        raise InputError("%s, and no identity was given" % who, HOW)
    seal = folder.at(_manifest.SEAL_NAME)
    try:
        sealed = decrypt_bytes(read_seal(folder), identities, seal)
    except WrongIdentityError as exc:
        raise InputError("%s, and none of the identities that were given is of one of them" % who, HOW) from exc
    now, text = load_manifest(folder)
    if sealed != _manifest.sums_line(text, _manifest.MANIFEST_NAME) or now != manifest:
        raise IntegrityError(
            "%s is not the one that was sealed when the set was made" % folder.at(_manifest.MANIFEST_NAME),
            "It was altered, together with %s: use another backup set" % _manifest.SUMS_NAME,
        )
    return DecryptingSource(folder.source(manifest["artifacts"]), manifest, identities)
