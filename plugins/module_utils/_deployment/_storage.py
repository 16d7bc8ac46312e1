# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""How an instance reaches the bucket that holds its uploaded files, in all spellings since 2024.2. Pure."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._bucket import ObjectStorage
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._config import as_bool, as_text
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._places import DATA_TRAIN, backend_of
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._version import train_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._config import (
        Configuration,
        Setting,
    )

MEDIA, REPORTS = "media", "reports"
# What older releases call it.
_OLDER = {"session_token": "security_token"}


def find_object_storage(
    configuration: Configuration, options: dict[str, Any], version: str | None
) -> ObjectStorage | None:
    """Return the bucket of the instance's files, None where none of them lie in one.

    :param options: ``storage_backend`` says where uploaded files are, and ``postgresql_default_schema`` what the folder
        of the default tenant is called, whatever the configuration does.
    :param version: of authentik, which decides how objects are named; None where it is not known.
    """
    usages = [usage for usage in (MEDIA, REPORTS) if backend_of(configuration, options, usage) == "s3"]
    if not _is_modern(configuration, version):
        # The bucket is the tenants' media, and there are no reports.
        return _settings(configuration, options, MEDIA, ()) if MEDIA in usages else None
    found = [_settings(configuration, options, usage, tuple(usages)) for usage in usages]
    if len(found) == 2 and found[0] != found[1]:
        problem = "storage.media.s3 and storage.reports.s3 differ, and only one bucket can be saved (%s, %s)"
        return replace(found[0], problem=problem % (found[0].bucket, found[1].bucket))
    return found[0] if found else None


def _is_modern(configuration: Configuration, version: str | None) -> bool:
    key = train_key(version)
    if key is not None:
        return key >= DATA_TRAIN
    # Before, storage of media was all that could be configured.
    return configuration.first("storage.backend", "storage.s3.bucket_name") is not None


def _settings(
    configuration: Configuration, options: dict[str, Any], usage: str, folders: tuple[str, ...]
) -> ObjectStorage:
    def find(name: str) -> Setting | None:
        names = [name] + ([_OLDER[name]] if name in _OLDER else [])
        return configuration.first(
            *("storage.%s.s3.%s" % (usage, one) for one in names), *("storage.s3.%s" % one for one in names)
        )

    def text(name: str) -> str:
        return as_text(find(name)) or ""

    secure = find("use_ssl")
    endpoint = text("endpoint")
    if endpoint and "://" not in endpoint:
        endpoint = "%s://%s" % ("https" if secure is None or as_bool(secure) else "http", endpoint)
    return ObjectStorage(
        bucket=text("bucket_name"),
        folders=folders,
        default_schema=options.get("postgresql_default_schema")
        or as_text(configuration.first("postgresql.default_schema"))
        or "public",
        endpoint=endpoint,
        region=text("region"),
        addressing_style=text("addressing_style"),
        profile=text("session_profile"),
        access_key=text("access_key"),
        secret_key=text("secret_key"),
        session_token=text("session_token"),
    )
