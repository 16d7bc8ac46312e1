# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Places on the controller that are gone when its job or its machine ends: no backup may rest in one unnoticed.

An execution environment is a container. What is written to its own file system, to a volume of its pod or to the
folder that ansible-runner makes for the job is removed with it; what is mounted from elsewhere stays.
"""

from __future__ import annotations

import os
import shlex

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _mounts
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError

_IN_MEMORY = ("tmpfs", "ramfs")
# What a container's root is made of. A machine that was made from an image may have the marks below as well.
_LAYERED = ("overlay", "fuse-overlayfs", "fuse.fuse-overlayfs", "aufs")
_LAYERS_BELOW = ("/docker/", "/containers/storage/", "/containerd/")
# Others, as LXC, run whole machines whose file system stays.
_MARKS = ("/.dockerenv", "/run/.containerenv", "/var/run/secrets/kubernetes.io")
_MARK_VARIABLES = ("KUBERNETES_SERVICE_HOST",)
_EMPTY_DIR = "/volumes/kubernetes.io~empty-dir/"
# What ansible-runner mounts for one job: its private folder, and what it puts there.
_RUNNER = ("/runner", "/runner/artifacts", "/runner/env", "/runner/inventory", "/runner/project")


def check_lasting(path: str) -> None:
    """Refuse a place for a store that does not outlast the job, whether or not the folder exists yet.

    :raises InputError: with the reason and the way out.
    """
    real = os.path.realpath(path)
    reason = why_ephemeral(real, _mounts.read(), in_container())
    if reason:
        there = real
        while not os.path.lexists(there):
            there = os.path.dirname(there)
        raise InputError(
            "The store %s %s" % (path, reason),
            "Name one that stays, with authentik_store (store of the module): a bucket, such as "
            "authentik_store=s3://BUCKET/PREFIX, or a folder that is mounted into the execution environment, in AWX by "
            "the setting 'Paths to expose to isolated jobs', with ansible-navigator by --eev FOLDER:FOLDER. Where the "
            "set is copied away before it is gone, set authentik_allow_ephemeral_store (allow_ephemeral of the module)",
            "findmnt -T %s" % shlex.quote(there),
        )


def in_container() -> bool:
    """Whether this runs in a container that is thrown away."""
    return any(os.path.exists(mark) for mark in _MARKS) or any(name in os.environ for name in _MARK_VARIABLES)


def why_ephemeral(path: str, mounts: list[_mounts.Mount], container: bool) -> str:
    """Return why what is written to ``path`` is gone soon, as the end of a sentence; empty when it stays. Pure.

    :param path: absolute, without symbolic links in it.
    :param mounts: in the order in which they were made; a later one hides an earlier one at the same point.
    """
    above = [mount for mount in mounts if (path + "/").startswith(mount.point.rstrip("/") + "/")]
    if not above:
        return ""
    deepest = max(len(mount.point) for mount in above)
    mount = [one for one in above if len(one.point) == deepest][-1]
    if mount.kind in _IN_MEMORY:
        return "lies in memory (%s on %s), and is gone when the machine or the job ends" % (mount.kind, mount.point)
    if not container:
        return ""
    if mount.point == "/" and (mount.kind in _LAYERED or any(place in mount.root for place in _LAYERS_BELOW)):
        return "lies in the execution environment's own file system, which is gone when the job ends"
    if _EMPTY_DIR in mount.root:
        return "lies in a volume of the job's own pod (emptyDir on %s), which is gone when the job ends" % mount.point
    if mount.point in _RUNNER:
        return "lies in the folder that ansible-runner made for this job (%s), and is removed with it" % mount.point
    return ""
