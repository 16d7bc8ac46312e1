# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Why a bucket cannot be put back as it was before a restore, and what an operator does then. Pure."""

from __future__ import annotations

import json
import shlex
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError, StateError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_read import Bucket
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_client import Location

BEFORE, NEW = "authentik-before-", "authentik-new-"
_WITHOUT = "To roll back everything else and leave the bucket as it is, give -e authentik_rollback_bucket=false"


class OtherBucketError(StateError):
    """What a restore exchanged lies in another bucket."""


class NoWayBackError(StateError):
    """What a restore exchanged in a bucket cannot be put back."""


def is_back(journal: t.Mapping[str, t.Any]) -> bool:
    """Tell whether all of it was put back, and only what was kept is still to be removed."""
    return bool(journal.get("back"))


def other_bucket(restore_id: str, swapped: t.Mapping[str, t.Any], bucket: Bucket) -> OtherBucketError:
    """Return the error.

    :param swapped: what is known of the swap.
    :param bucket: the one that is found now.
    """
    place = {"bucket": swapped["bucket"], "endpoint_url": swapped["endpoint"]}
    return OtherBucketError(
        "The restore %s exchanged objects of the bucket %s at %s, and the files are looked for in %s at %s"
        % (restore_id, swapped["bucket"], swapped["endpoint"], bucket.place, bucket.client.endpoint),
        "Name that bucket as bucket of the option storage_s3, with the keys for it. %s" % _WITHOUT,
        _rollback(restore_id, " -e %s" % shlex.quote(json.dumps({"authentik_storage_s3": place}))),
    )


def no_way_back(restore_id: str, place: Location, what: str) -> NoWayBackError:
    """Return the error.

    :param what: says what is gone.
    """
    return NoWayBackError(
        "What the restore %s replaced in %s cannot be put back: %s" % (restore_id, place, what),
        "A lifecycle rule of the bucket may have removed it, or somebody, or a rollback that was cut off had put it "
        "back already. The safety set of that restore holds these objects, too: restore it. %s" % _WITHOUT,
        "ansible-playbook authentik_ops.recovery.list",
    )


def later(restore_id: str, folder: str, place: Location) -> NoWayBackError:
    """Return the error.

    :param folder: in which the latest restore keeps what it replaced.
    """
    latest = folder[len(BEFORE) :]
    return NoWayBackError(
        "The restore %s of %s came after the restore %s: without it, the bucket would be in a state that never was"
        % (latest, place, restore_id),
        "Roll back the later one first. %s" % _WITHOUT,
        _rollback(latest),
    )


def damaged(url: str, endpoint: str, reason: Exception) -> IntegrityError:
    """Return the error about a journal.

    :param url: of the journal.
    """
    return IntegrityError(
        "%s is no journal: %s" % (url, reason),
        "Somebody else wrote it. What was replaced lies beside it, by its keys: copy it back by hand, or restore the "
        "safety set of that restore. %s" % _WITHOUT,
        "aws --endpoint-url %s s3 ls --recursive %s/" % (shlex.quote(endpoint), url.rpartition("/")[0]),
    )


def _rollback(restore_id: str, told: str = "") -> str:
    return "ansible-playbook authentik_ops.recovery.rollback -e authentik_restore_id=%s%s" % (restore_id, told)
