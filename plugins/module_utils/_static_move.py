# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""From a whole saved tree, unpacked aside and proved, to the copies that an instance laid out otherwise needs.

The fingerprint is that of the whole tree. Only renames happen after it was compared, so each part is proved too.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _static, _static_objects
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import RecoveryError, StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_names import content_names, content_rule
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_places import (
    DEFAULT_TENANT,
    is_old_layout,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._tree_digest import differences

if TYPE_CHECKING:
    from typing import Any

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_places import Part, Work
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._tree import Leave


def describe(work: Work, names: dict[str, str]) -> list[str]:
    """Sentences for the plan on what becomes of a tree.

    :param names: what lies in the tree itself -> its kind, as in an entry.
    """
    said = list(work.said)
    for part in work.parts:
        if part.deeper and is_old_layout(list(names)):
            said.append(
                "%s: it has no folder per tenant yet (authentik before 2024.2), so its files go to %s"
                % (work.component, os.path.join(part.place.live, DEFAULT_TENANT))
            )
        if part.inside and names.get(part.inside) != "d":
            becomes = "%s would be empty" if part == work.parts[0] else "%s is left alone"
            said.append(
                "%s: it holds no directory %s, so %s" % (work.component, part.inside, becomes % part.place.live)
            )
    return said + [_left_out(work, rest) for rest in [_rest(work, list(names))] if rest]


def _rest(work: Work, names: list[str]) -> list[str]:
    wanted = [part.inside for part in work.parts if part.inside]
    return sorted(name for name in names if name not in wanted) if wanted else []


def _left_out(work: Work, rest: list[str]) -> str:
    shown = ", ".join(os.fsencode(name).decode("utf-8", "replace") for name in rest)
    return "%s: left out, because this instance has no place for it: %s" % (work.component, shown)


def arrange(work: Work) -> list[str]:
    """Make the copies of the parts of the proved tree; returns warnings.

    As long as the whole tree is there they are not complete. The first part is always made, though it may be empty.
    """
    whole = work.parts[0].place.whole
    try:
        if not work.parts[0].inside:
            _deepen(work.parts[0], whole)
            return []
        rest = _rest(work, os.listdir(whole))
        for part in work.parts:
            folder = os.path.join(whole, part.inside)
            if os.path.isdir(folder) and not os.path.islink(folder):
                os.rename(folder, part.place.new)
            elif part == work.parts[0]:
                os.mkdir(part.place.new, 0o700)
                dress_like(whole, part.place.new)
                _keep_mode(work, part)
        remove(whole)
    except OSError as exc:
        raise StateError(
            "%s: the parts of %s could not be put apart: %s" % (work.component, whole, exc.strerror),
            "All its directories have to be on one file system",
        ) from exc
    return [_left_out(work, rest)] if rest else []


def _keep_mode(work: Work, part: Part) -> None:
    """Let an empty directory be as open as the one that is there, where the set tells no mode of its own."""
    mode = _static_objects.mode_here(part.place.live) if _static_objects.are_objects(work.record) else None
    if mode is not None:
        os.chmod(part.place.new, mode)


def _deepen(part: Part, whole: str) -> None:
    if not is_old_layout(os.listdir(whole)):
        os.rename(whole, part.place.new)
        return
    os.mkdir(part.place.new, 0o700)
    dress_like(whole, part.place.new)
    os.rename(whole, os.path.join(part.place.new, DEFAULT_TENANT))


def dress_like(model: str, path: str) -> None:
    """Give a folder that was just made the owners and the mode of another one."""
    info = os.stat(model)
    if (info.st_uid, info.st_gid) != (os.geteuid(), os.getegid()):
        os.chown(path, info.st_uid, info.st_gid)
    os.chmod(path, info.st_mode & 0o7777)


def changed(record: dict[str, Any], part: Part) -> str:
    """Why a restored directory may hold more than the backup, as a part of a sentence; empty when it does not."""
    live = part.place.live
    if part.inside:
        # The fingerprint is that of the tree that this was a part of.
        return "it may have been changed since it was restored"
    if part.deeper and content_names(live) == [DEFAULT_TENANT]:
        inner = os.path.join(live, DEFAULT_TENANT)
        if not os.path.islink(inner) and not _differs(record, inner, None):
            return ""
    return "it was changed since it was restored" if _differs(record, live, content_rule(live)) else ""


def _differs(record: dict[str, Any], path: str, leave: Leave | None) -> bool:
    try:
        if _static_objects.are_objects(record):
            return _static_objects.holds_others(record, path, leave)
        return bool(differences(record["fingerprint"], _static.digest_tree(path, leave)[1]))
    except RecoveryError:
        return True  # what cannot be read is not known to be in the backup


def remove(path: str) -> None:
    """Remove a file, a link or a tree, if it is there."""
    if os.path.isdir(path) and not os.path.islink(path):
        root = os.fsencode(path)
        if os.geteuid() != 0:
            # Without root, nothing can be removed from a directory that was restored as its owner's to read only.
            os.chmod(root, 0o700)
            for folder, names, _files in os.walk(root):
                for name in names:
                    if not os.path.islink(os.path.join(folder, name)):
                        os.chmod(os.path.join(folder, name), 0o700)
        shutil.rmtree(root)
    elif os.path.lexists(path):
        os.unlink(path)
