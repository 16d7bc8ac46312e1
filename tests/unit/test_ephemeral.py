# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stores that are gone when the job ends are refused, and no others."""

from __future__ import annotations

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._mounts import parse
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._ephemeral import why_ephemeral

# As AWX on Kubernetes, AWX and ansible-navigator with Podman, and a workstation show it.
POD = """\
520 418 0:150 / / rw,relatime master:170 - overlay overlay rw,lowerdir=/l1:/l2,upperdir=/u,workdir=/w
521 520 0:152 / /proc rw,nosuid - proc proc rw
530 520 259:1 /var/lib/kubelet/pods/0c6/volumes/kubernetes.io~empty-dir/scratch /scratch rw - xfs /dev/nvme0n1p1 rw
531 520 259:1 /var/lib/kubelet/pods/0c6/volume-subpaths/pvc/worker/0 /backups rw,relatime - ext4 /dev/sdb rw
532 520 0:49 / /cache rw,relatime - tmpfs tmpfs rw,size=65536k
533 520 0:51 / /with\\040space rw,relatime - nfs4 nas:/export rw
"""
PODMAN = """\
700 600 0:60 / / rw,relatime - overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w
701 700 253:0 /tmp/awx_41_x2k/ /runner rw - xfs /dev/mapper/root rw
702 701 253:0 /var/lib/awx/projects/_8__ops /runner/project rw - xfs /dev/mapper/root rw
703 701 253:0 /srv/backups /runner/backups rw - xfs /dev/mapper/root rw
"""
WORKSTATION = """\
25 1 8:2 / / rw,relatime - ext4 /dev/sda2 rw
30 25 0:26 / /tmp rw,nosuid,nodev - tmpfs tmpfs rw
31 25 0:27 / /live rw - overlay overlay rw
"""


@pytest.mark.parametrize(
    ("path", "mountinfo", "container", "says"),
    [
        ("/home/runner/backups", POD, True, "the execution environment's own file system"),
        ("/scratch/backups", POD, True, "emptyDir on /scratch"),
        ("/backups", POD, True, ""),
        ("/backups/authentik/deep", POD, True, ""),
        ("/backupsuffix", POD, True, "the execution environment's own file system"),
        ("/cache", POD, True, "in memory (tmpfs on /cache)"),
        ("/with space/backups", POD, True, ""),
        ("/runner/mine", PODMAN, True, "ansible-runner made for this job (/runner)"),
        ("/runner/project/backups", PODMAN, True, "ansible-runner made for this job (/runner/project)"),
        ("/runner/backups/sso", PODMAN, True, ""),
        ("/srv/backups", WORKSTATION, False, ""),
        # A machine that was made from a container's image has the container's marks.
        ("/srv/backups", WORKSTATION, True, ""),
        ("/tmp/backups", WORKSTATION, False, "in memory (tmpfs on /tmp)"),
        # A live system, or a disk with layers: it may well stay.
        ("/live/backups", WORKSTATION, False, ""),
        ("/srv", POD, False, ""),
        # Docker on btrfs: the root is a subvolume.
        ("/srv", "40 1 0:30 /@/var/lib/docker/btrfs/subvolumes/4f / rw - btrfs /dev/sda2 rw", True, "own file system"),
        # What is mounted later hides what was there.
        ("/data/x", POD + "540 520 0:60 / /data rw - tmpfs t rw\n541 540 8:1 / /data rw - ext4 /dev/sdc rw", True, ""),
        ("/srv", "", True, ""),
    ],
)  # fmt: skip
def test_what_is_gone_when_the_job_ends(path: str, mountinfo: str, container: bool, says: str) -> None:
    reason = why_ephemeral(path, parse(mountinfo), container)
    assert says in reason
    assert bool(reason) == bool(says)
