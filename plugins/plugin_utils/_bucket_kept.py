# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What restores keep in the bucket of an instance's files, found by its names; the host judges what of it goes."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._object_index import COMPONENT
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import is_id
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_read import Bucket
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_restore import JOURNAL
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_uploads import abort, unfinished
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_objects import delete_many, folders, listing

_NAME = re.compile("authentik-(before|new)-(.+)")


def find(bucket: Bucket, warn: t.Callable[[str], None]) -> list[dict[str, t.Any]]:
    """Return what is kept, as the module authentik_kept_copies is given it.

    :param warn: gets a sentence when uploads that were never finished may not be looked for.
    """
    found = []
    for folder in sorted({*folders(bucket.client, bucket.place), *unfinished(bucket, "authentik-", warn)}):
        named = _NAME.fullmatch(folder)
        if named and is_id(named[2]):
            size = sum(one.size for one in listing(bucket.client, bucket.place, folder))
            one = {"restore_id": named[2], "kind": named[1], "name": bucket.place.url(folder), "size": size}
            found.append(dict(one, of=str(bucket.place)))
    return found


def remove(bucket: Bucket, copies: t.Iterable[t.Mapping[str, t.Any]], warn: t.Callable[[str], None]) -> None:
    """Remove those of the bucket that go, as the module judged them.

    :param warn: gets a sentence when uploads that were never finished may not be aborted.
    """
    for copy in copies:
        if copy["component"] != COMPONENT or not copy["goes"]:
            continue
        folder = "authentik-%s-%s" % (copy["kind"], copy["restore_id"])
        names = [one.name for one in listing(bucket.client, bucket.place, folder)]
        # First what says how to put it back, which half of it cannot be.
        journal = "%s/%s" % (folder, JOURNAL)
        delete_many(bucket.client, bucket.place, [journal] if journal in names else [])
        delete_many(bucket.client, bucket.place, [name for name in names if name != journal])
        abort(bucket, folder, warn)
