# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Of which instances a store holds something."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import as_error
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import check_instance_name
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._backend import directory_of
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_client import (
    Location,
    is_location,
    make_client,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_objects import folders


def instances(store: str, s3: t.Mapping[str, t.Any] | None = None) -> tuple[str, list[str]]:
    """Return where a store lies, in full, and the names of its instances, sorted.

    :raises InputError: when it is not there.
    """
    if is_location(store):
        place = Location.parse(store)
        return str(place), sorted(filter(_is_name, folders(make_client(s3), place)))
    place_on_disk = directory_of(store)
    try:
        with os.scandir(place_on_disk) as found:
            return place_on_disk, sorted(one.name for one in found if one.is_dir() and _is_name(one.name))
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise InputError(
            "There is no folder '%s' on this machine" % store,
            "Correct authentik_store, or make the first backup",
            "ansible-playbook authentik_ops.recovery.backup",
        ) from exc
    except OSError as exc:
        raise as_error("list the store", place_on_disk, exc) from exc


def _is_name(name: str) -> bool:
    try:
        return bool(check_instance_name(name))
    except InputError:
        return False
