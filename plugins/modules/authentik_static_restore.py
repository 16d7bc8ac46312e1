#!/usr/bin/python

# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restore the directories of an authentik instance."""

from __future__ import annotations

DOCUMENTATION = r"""
module: authentik_static_restore
short_description: Restore the directories of an authentik instance
version_added: "1.0.0"
author:
  - The authentik_ops.recovery contributors (@authentik-ops)
description:
  - Restores directories that M(authentik_ops.recovery.authentik_static_dirs) saved, one step at a time.
  - Nothing live is touched before the new copy, C(<directory>.new-<restore id>), was proved equal to the backup by its
    tree digest. The directory it replaces stays as C(<directory>.before-<restore id>). Only where the disk does not
    hold both, and O(mode=in_place) asks for it, what it holds is removed before.
  - A directory that cannot be renamed itself, because it is a mount point or the root of a volume, or because the
    folder above it may not be written to, is exchanged entry by entry. The new copy is then unpacked inside it, in
    C(<directory>/.authentik-new-<restore id>), and what it held stays in C(<directory>/.authentik-before-<restore id>),
    with a journal from which O(step=swap) goes on and O(step=undo) goes back after it was killed. No backup takes these
    folders for content, and C(lost+found) of a file system stays where it is.
  - A mount point below a directory is refused.
  - Archives with members that could reach outside are refused. A symbolic link that leads outside is only accepted
    when the backup recorded it, and is never followed.
  - An instance may be laid out otherwise than the one that was saved. What was in V(media) goes to C(media) in V(data),
    and the other way round; uploaded files of before authentik 2024.2 go to the folder C(public) of the default tenant,
    where nothing else would put them there any more. The plan says so. The whole tree is proved before its parts are
    moved by rename.
  - What the set holds of a bucket (V(s3), see M(authentik_ops.recovery.authentik_s3_objects)) is restored as the
    directory of uploaded files, V(data) or V(media), when O(components) names it. Every object becomes a file, with
    mode 0644 and the time at which it was written, in folders of mode 0755. The directory itself, and the folders
    C(media) and C(reports) of V(data) or wherever the instance has them, keep the mode of those that are there, and
    everything belongs to that directory's owner; where it is not there yet, make it first. Where only media, or only
    reports, of authentik 2025.12 and later lay in the bucket, only their folder of V(data) is replaced.
    Content type and other metadata have no place on a disk. A bucket that has both an object and others below its name
    as a folder is refused.
  - Owners are restored by root. Any other user can only restore what belongs to itself, and gets an error otherwise.
  - authentik is another user on a host than in a container. Of a set of another deployment (services of the host,
    Docker Compose), what belonged to the owner of the saved directory is given to the owner of the directory that is
    there; in a compose project where that is root or nobody yet, to 1000:1000, the user of authentik's image.
attributes:
  check_mode:
    support: full
    details:
      - V(prepare) and V(swap) do what O(step=check) does. V(clear) and V(undo) say what they would do.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - V(clear), V(swap) and V(undo) report no change when there is nothing left to do. V(prepare) builds the copy
        anew. In place nothing tells what was swapped, so that a second V(swap) fails.
extends_documentation_fragment:
  - authentik_ops.recovery.attributes
  - authentik_ops.recovery.instance
  - authentik_ops.recovery.restore_mode
  - authentik_ops.recovery.stream.consumer
options:
  step:
    description:
      - V(check) reads every byte of the archives and looks at the target, and changes nothing.
      - V(clear), with O(mode=in_place) alone, removes what the live directories hold. The directories themselves stay
        until their copies take their places. Stop authentik first.
      - V(prepare) unpacks beside the live directory, or inside it, and proves the copy equal to the backup. Copies of
        the same directory that other restores prepared and never swapped in are removed.
      - V(swap) exchanges both by rename, of the directories or of what they hold. Stop authentik first.
      - V(undo) puts back what was before and removes what was prepared. It can be repeated, and needs no state but
        the names on the disk. A restored directory that was changed since stays, as C(<directory>.undone-<restore id>).
        What V(clear) removed does not come back by it.
      - With O(mode=in_place) a directory that does not exist is restored side by side all the same, and so is the one
        for C(reports) where C(data) of the set is taken apart.
    type: str
    choices:
      - check
      - clear
      - prepare
      - swap
      - undo
    required: true
  restore_id:
    description:
      - Id of this restore, in the form of a set's id. All steps of one restore use the same.
    type: str
    required: true
  components:
    description:
      - Which directories to restore. All that the set holds when not given, but never V(s3).
    type: list
    elements: str
  paths:
    description:
      - Other places to restore to. Keys are components, values absolute paths. V(s3) goes by what it becomes, too.
      - When not given for a component, it is where the instance has that directory, else where it was saved from. The
        paths in a set of another deployment (services of the host, Docker Compose) mean nothing here.
      - All steps of one restore need the same.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Check that everything can be restored
  authentik_ops.recovery.authentik_static_restore:
    backup_set: &set
      store: /srv/backups
      instance: sso
      id: 20261122T031500Z-7f3a
    restore_id: 20261123T090000Z-11aa
    step: check

- name: Unpack beside the live directories
  authentik_ops.recovery.authentik_static_restore:
    backup_set: *set
    restore_id: 20261123T090000Z-11aa
    step: prepare

- name: Swap them in
  authentik_ops.recovery.authentik_static_restore:
    backup_set: *set
    restore_id: 20261123T090000Z-11aa
    step: swap
"""

RETURN = r"""
plan:
  description: What would be done, or was done, in sentences.
  returned: success
  type: list
  elements: str
components:
  description:
    - The directories of this step and where they are. C(inside) says that the copies are inside the directory,
      C(in_place) that what it holds is removed before.
  returned: success
  type: list
  elements: dict
  sample:
    - component: media
      live: /opt/authentik/media
      new: /opt/authentik/media.new-20261123T090000Z-11aa
      before: /opt/authentik/media.before-20261123T090000Z-11aa
      inside: false
      restore_id: 20261123T090000Z-11aa
      in_place: false
space:
  description: What each new copy needs, in bytes, what is removed before it is made, and what is free there.
  returned: O(step=check) and check mode, but for O(step=clear) and O(step=undo)
  type: list
  elements: dict
  sample:
    - component: media
      what: the new copy of media
      path: /opt/authentik
      device: "5d9c64d3-6f3c-4a0e-9c5f-3f6f0e0a7f55:65025"
      available: 5368709120
      unseen: ""
      needed: 104857600
      freed: 0
"""

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _static_restore
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._places import DATA_TRAIN
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._version import train_key
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._module import (
    CONSUMER_SPEC,
    IN_PLACE,
    INSTANCE_SPEC,
    MODE_SPEC,
    Context,
    run_module,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_places import Here, in_place
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import check_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import Instance

ARGUMENT_SPEC = {
    **INSTANCE_SPEC,
    **CONSUMER_SPEC,
    **MODE_SPEC,
    "step": {"type": "str", "choices": ["check", "clear", "prepare", "swap", "undo"], "required": True},
    "restore_id": {"type": "str", "required": True},
    "components": {"type": "list", "elements": "str"},
    "paths": {"type": "dict", "default": {}},
}


def restore(ctx: Context) -> dict[str, object]:
    """Do one step and return what was done."""
    params = ctx.params
    manifest = ctx.manifest()
    records, said = _static_restore.choose(manifest, params["components"])
    here = _here(ctx.look_without_database(), manifest)
    work = _static_restore.make_work(records, params["paths"], here, check_id(params["restore_id"]))
    if params["mode"] == IN_PLACE:
        work = in_place(work)
    elif params["step"] == "clear":
        raise InputError(
            "step=clear removes what is live, which side by side is kept",
            "Leave it out; or give mode=in_place, once a backup set of what is live was verified",
        )
    result = _static_restore.restore(params["step"], work, ctx.source, ctx.check_mode)
    for warning in result.pop("warnings"):
        ctx.warn(warning)
    if params["step"] == "check" or ctx.check_mode:
        result["plan"] += said
    result["components"] = [part.place._asdict() for item in work for part in item.parts]
    return result


def _here(instance: Instance, manifest: dict[str, Any]) -> Here:
    train = train_key(instance.train)
    return Here(
        {item.component: item.path for item in instance.directories},
        instance.deployment,
        None if train is None else train >= DATA_TRAIN,
        manifest["instance"]["deployment"] != instance.deployment,
        instance.reports,
    )


def main() -> None:
    """Entry point."""
    run_module(ARGUMENT_SPEC, restore)


if __name__ == "__main__":
    main()
