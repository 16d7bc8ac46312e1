# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the collection refuses a set: by the code of the store and of the modules, run in this process.

It is what the playbook runs: the action plugins ask the store for the set, and hand its artifacts to the modules.
``tests/damage/playbook.py`` proves that on a sample.
"""

from __future__ import annotations

import datetime
import functools
import json
from pathlib import Path
from typing import Any

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _config, _module
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError, RecoveryError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import open_store
from tests.support import in_process
from tests.support.site import NAME, Site

RESTORE_ID = "20261128T090000Z-0d0d"


class Judge:
    """Asks whether the set in a store can be restored into a site's instance.

    :param folder: the set's folder, ``<store>/<instance>/<id>``.
    """

    def __init__(self, site: Site, folder: Path) -> None:
        self.folder = folder
        self.store = open_store(str(folder.parents[1]), NAME)
        (host,) = json.loads(site.controller.inventory.read_text())["authentik"]["hosts"].values()
        variables = {name[len("authentik_") :]: value for name, value in host.items() if name.startswith("authentik_")}
        self._options = {name: value for name, value in variables.items() if name in _module.INSTANCE_SPEC}
        self._admin = {name[len("postgresql_") :]: value for name, value in variables.items() if "_admin_" in name}
        self._work_dir = variables["work_dir"]
        self._instance: Any = None
        # The same key, slow on purpose, a thousand times over.
        _config._slow_hash = functools.cache(_config._slow_hash)

    def refusal_at_rest(self, path: str) -> RecoveryError | None:
        """Return why the set is refused whose file at ``path`` was damaged; None when it would be restored."""
        try:
            found = self.store.get(self.folder.name)
            if "/" in path:
                self.step("check", path, Path(found.path))
        except RecoveryError as exc:
            return exc
        return None

    def refusal_to_list(self) -> RecoveryError | None:
        """Return why ``authentik_backup_set_info`` refuses the set when it verifies it."""
        try:
            self.store.verify(self.store.get(self.folder.name), datetime.datetime.now(datetime.UTC), record_it=False)
        except RecoveryError as exc:
            return exc
        return None

    def step(self, step: str, path: str, src: Path | None) -> dict[str, Any]:
        """Do a step of the restore of the component that the artifact at ``path`` belongs to."""
        folder, name = path.split("/")
        more: dict[str, Any] = {"step": step, "restore_id": RESTORE_ID}
        if src is not None:
            more["src"] = str(src)
        if folder == "postgresql":
            return self._run("pg_restore", {**more, **self._admin})
        if folder == "static":
            return self._run("static_restore", {**more, "components": [name.partition(".")[0]]})
        return self._run(
            "redis_restore" if folder == "redis" else "config_restore", {**more, "work_dir": self._work_dir}
        )

    def _run(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        result, self._instance = in_process.run(name, {**self._options, **options}, self._instance)
        return result


def complaint_about(refusal: RecoveryError, path: str) -> str:
    """Return what a refusal leaves unsaid to whoever has to go on from it; empty when nothing."""
    if isinstance(refusal, IntegrityError) and path not in str(refusal):
        return "does not name %s: %s" % (path, refusal)
    if not (refusal.hint or refusal.command):
        return "does not say what to do: %s" % refusal
    return ""
