# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Options of the modules that reach the bucket of an instance's files, and what the host tells of it."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import DiscoveryError, StateError

if TYPE_CHECKING:
    from typing import Any

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import Instance

#: Overrides what the configuration says: the controller may reach the endpoint otherwise than the host does.
STORAGE_S3_SPEC: dict[str, Any] = {
    "storage_s3": {
        "type": "dict",
        "options": {
            "bucket": {"type": "str"},
            "endpoint_url": {"type": "str"},
            "region": {"type": "str"},
            "profile": {"type": "str"},
            "access_key": {"type": "str", "no_log": False},
            "secret_key": {"type": "str", "no_log": True},
            "session_token": {"type": "str", "no_log": True},
            "ca_bundle": {"type": "path"},
            "allow_http": {"type": "bool", "default": False},
            "addressing_style": {"type": "str", "choices": ["auto", "path", "virtual"]},
            "checksums": {"type": "str", "choices": ["auto", "when_supported", "when_required"], "default": "auto"},
            "storage_class": {"type": "str"},
            "server_side_encryption": {"type": "str", "choices": ["none", "AES256", "aws:kms"], "default": "none"},
            "kms_key_id": {"type": "str", "no_log": False},
            "parallel": {"type": "int", "default": 8},
            "retry_seconds": {"type": "int", "default": 120},
            "connect_timeout": {"type": "int", "default": 10},
            "read_timeout": {"type": "int", "default": 60},
        },
    }
}


class NotInS3(DiscoveryError):
    """The instance has its files on a disk."""


_PURPOSE = b"authentik_ops.recovery: the index of a bucket's objects"


def tell(instance: Instance) -> dict[str, Any]:
    """Return what the controller has to know, keys included: for its action plugin alone, which shows none of it.

    :raises NotInS3: the instance's files do not lie in S3.
    :raises StateError: they lie where they cannot be saved from.
    """
    storage = instance.object_storage
    if storage is None:
        raise NotInS3(
            "The files of this authentik instance do not lie in S3, as far as its configuration tells",
            "Leave s3 out of the components, or give storage_backend: s3",
        )
    if storage.problem:
        raise StateError(storage.problem, "Leave s3 out of the components, and save both by other means")
    key = ""
    if instance.secret_key:
        secret = instance.secret_key.encode("utf-8", "surrogateescape")
        key = hmac.new(secret, _PURPOSE, hashlib.sha256).hexdigest()
    # By the key the next backup reads this one's index, where only recipients can read the rest of the set.
    return {
        "connection": storage.connection(),
        "folders": list(storage.folders),
        "default_schema": storage.default_schema,
        "index_key": key,
    }
