# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Base of the action plugins of consumers: artifacts stream from a published backup set to the host."""

from __future__ import annotations

import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._manifest import plain_view
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._opened import plain_source
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sender import Sender
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._transfer import StreamingAction, Target

_OTHER_STEPS = ("clear", "swap", "undo")


class ConsumerAction(StreamingAction):
    """Hands the manifest to the module and pushes the artifacts that it asks for."""

    _decrypts = True

    def stream(self, where: Target, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """Run the module with the set's manifest, and with a spool in the steps that read artifacts.

        :raises RecoveryError: when the set does not exist or is damaged, or is encrypted and cannot be read.
        """
        reads = self._task.check_mode or arguments.get("step") not in _OTHER_STEPS
        # What is prepared was proved: damage that a verification finds later is no reason to deny the way back.
        backup_set = where.store.get(where.set_id, recheck=not reads)
        arguments["manifest"] = plain_view(backup_set.manifest)
        if not reads:
            return without_echo(self._execute_module(module_args=arguments, task_vars=task_vars))

        # Before the host is asked for anything: without the right identity nothing can be done.
        source = plain_source(backup_set, where.identity)

        def make_pump(remote: t.Any, folder: str, options: t.Any, progress: t.Any) -> Sender:
            return Sender(remote, source, folder, options.chunk_size, options.window, progress)

        return without_echo(self.transfer(arguments, task_vars, make_pump, lambda: None))


def without_echo(result: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return the result without the manifest that the module was given: it may be megabytes."""
    result.get("invocation", {}).get("module_args", {}).pop("manifest", None)
    return result
