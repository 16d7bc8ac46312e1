# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Uploads that a restore of a bucket began and never finished, because it was killed. Listings do not show them.

Only those below the folders of restores are touched: other ones are authentik's. Where they may not be looked for, that
is a warning, and no reason to leave undone what else there is to do.
"""

from __future__ import annotations

import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import RecoveryError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_read import Bucket
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_errors import code_of
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_objects import abort_stale_uploads, uploads

_REFUSED = ("AccessDenied", "AllAccessDisabled", "MethodNotAllowed", "NotImplemented", "403", "405", "501")


def unfinished(bucket: Bucket, prefix: str, warn: t.Callable[[str], None]) -> set[str]:
    """Return the folders right below which there are some.

    :param prefix: with which their names begin.
    :param warn: gets a sentence when they may not be looked for.
    """
    try:
        found = list(uploads(bucket.client, bucket.place, bucket.place.below("") + prefix))
    except RecoveryError as exc:
        warn(_refused(bucket, exc))
        return set()
    return {bucket.place.relative(one["Key"]).partition("/")[0] for one in found}


def abort(bucket: Bucket, folder: str, warn: t.Callable[[str], None]) -> None:
    """Abort those below a folder of a restore.

    :param warn: gets a sentence when that is not allowed.
    """
    try:
        abort_stale_uploads(bucket.client, bucket.place, None, folder)
    except RecoveryError as exc:
        warn(_refused(bucket, exc))


def _refused(bucket: Bucket, exc: RecoveryError) -> str:
    """Return the warning; raise what is another error.

    :raises RecoveryError: the endpoint was not reached, or does not work.
    """
    if exc.__cause__ is None or code_of(exc.__cause__) not in _REFUSED:
        raise exc
    return (
        "Parts of uploads that a restore was killed in may stay in %s, unseen and paid for, because they may not be "
        "looked for and aborted (s3:ListBucketMultipartUploads and s3:AbortMultipartUpload): %s"
        % (bucket.place, exc.cause)
    )
