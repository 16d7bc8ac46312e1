# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of authentik_static_dirs: streams directories into a backup set, and links unchanged ones."""

from __future__ import annotations

import typing as t

from ansible.utils.display import Display

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import RecoveryError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._manifest import artifacts_of
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._producer import ProducerAction
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sets import BackupSet
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._stored import read_back
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._transfer import Target

display = Display()


class ActionModule(ProducerAction):
    """With backup_set the artifacts go into the store, without it into dest on the host."""

    def hints(self, where: Target, earlier: list[BackupSet]) -> dict[str, t.Any]:
        """Tell the module the tree digests of the newest set, as far as its artifacts are still sound."""
        previous = {}
        for backup_set in earlier:
            for component, record in backup_set.manifest["components"].items():
                digest = record.get("fingerprint", {}).get("digest")
                artifacts = artifacts_of(backup_set.manifest, component)
                if not (digest and artifacts and artifacts[0]["path"].startswith("static/")):
                    continue
                try:
                    read_back(backup_set.folder, artifacts)
                except RecoveryError as exc:
                    display.warning(
                        "%s of set %s is damaged and is saved anew: %s" % (component, backup_set.set_id, exc.cause)
                    )
                    continue
                previous[component] = {"digest": digest, "set": backup_set.set_id}
        return {"previous": previous}
