# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Names of objects that can be neither saved nor restored, refused before anything is read or touched. Pure."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._tree_digest import printable
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._restore_text_shell import quoted
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_location import Location

_NO_CHARACTER = re.compile(r"[\x00-\x1f\x7f\\]")


def check_live(place: Location, endpoint: str, keys: t.Collection[str]) -> None:
    """Refuse a bucket that has an object by such a name.

    :param endpoint: empty for AWS.
    :param keys: of all objects of the instance.
    :raises StateError: naming the first, what to do, and the command that renames it.
    """
    bad = [key for key in sorted(keys) if place.flaw(key)]
    if not bad:
        return
    better = _better(bad[0], keys)
    raise StateError(
        "%s cannot be saved or restored: its name %s%s"
        % (_shown(place.url(bad[0])), place.flaw(bad[0]), _others(len(bad) - 1)),
        "Upload the file in authentik by another name, such as %s, choose that one wherever the old one is in use, and "
        "delete the old one. Where nothing in authentik names it, rename it in the bucket, as below"
        % _shown(better.rpartition("/")[2]),
        "aws%s s3 mv %s %s"
        % (
            " --endpoint-url %s" % quoted(endpoint) if endpoint else "",
            quoted(place.url(bad[0])),
            quoted(place.url(better)),
        ),
    )


def check_new(place: Location, keys: t.Iterable[str]) -> None:
    """Refuse a set that has an object by such a name.

    :param keys: that its objects would have in the bucket.
    :raises StateError: naming the first.
    """
    bad = [key for key in sorted(keys) if place.flaw(key)]
    if bad:
        raise StateError(
            "%s cannot be written: its name %s%s"
            % (_shown(place.url(bad[0])), place.flaw(bad[0]), _others(len(bad) - 1)),
            "Leave s3 out of authentik_components, and put the files into the bucket by hand, as "
            "RESTORE.md of the set says",
        )


def _better(key: str, keys: t.Collection[str]) -> str:
    """Return a name like it that can be handled and is not taken, neither by an object nor by a folder."""
    parts = [_NO_CHARACTER.sub("_", part) for part in key.split("/")]
    better = "/".join(part for part in parts if part not in ("", ".", ".."))
    while better in keys or any(one.startswith(better + "/") for one in keys if one != key):
        better += "-renamed"
    return better


def _others(number: int) -> str:
    return "; so it is with %d more" % number if number else ""


def _shown(text: str) -> str:
    return printable(text.encode("utf-8", "surrogateescape"))
