# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Base of the action plugins of producers: artifacts stream from the host into an unfinished backup set."""

from __future__ import annotations

import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._manifest import artifacts_of, plain_view
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._partial import PartialSet
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sets import BackupSet
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._stream import Received, Receiver
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._transfer import StreamingAction, Target


class ProducerAction(StreamingAction):
    """Streams what the module makes and keeps its component records for the manifest."""

    def stream(self, where: Target, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """Run the module with a spool and store its artifacts; in check mode nothing streams."""
        if self._task.check_mode:
            # The set that would take the artifacts need not exist yet.
            return self._execute_module(module_args=arguments, task_vars=task_vars)
        partial = where.store.partial(where.set_id)
        # What a restore replaced is seldom what is live now: a safety set is nothing to link to.
        newest = where.store.latest_backup()
        earlier = [newest] if newest else []
        # Others could read it, or who is to read this set could not.
        linkable = [one for one in earlier if one.recipients == partial.recipients]
        arguments.update(self.hints(where, linkable))
        pumps: list[Receiver] = []

        def make_pump(remote: t.Any, folder: str, options: t.Any, progress: t.Any) -> Receiver:
            known = plain_view(earlier[0].manifest)["artifacts"] if earlier else []
            estimates = {artifact["path"]: artifact["size"] for artifact in known}
            pumps.append(Receiver(remote, partial.sink(), folder, progress, estimates))
            return pumps[0]

        result = self.transfer(arguments, task_vars, make_pump, partial.heartbeat)
        components = result.get("components")
        if not isinstance(components, list):
            raise IntegrityError("The module on the host returned no component records")
        received = pumps[0].received
        for record in components:
            self._keep(partial, record, received, linkable)
        claimed = {artifact["path"] for record in components for artifact in record["artifacts"]}
        unclaimed = {path for path, arrived in received.items() if arrived.entry["path"] not in claimed}
        if unclaimed:
            raise IntegrityError(
                "The module on the host sent artifacts that no component claims: %s" % ", ".join(sorted(unclaimed))
            )
        result["components"] = [summary(record) for record in components]
        return result

    def hints(self, where: Target, earlier: list[BackupSet]) -> dict[str, t.Any]:
        """Return further options for the module, worked out from the newest backup if it has the same recipients."""
        return {}

    def _keep(
        self, partial: PartialSet, record: dict[str, t.Any], received: dict[str, Received], earlier: list[BackupSet]
    ) -> None:
        if record.get("linked"):
            entries = self._link(partial, record, earlier)
        else:
            entries = [manifest_entry(record["component"], artifact, received) for artifact in record["artifacts"]]
            record["artifacts"] = [
                dict(artifact, path=entry["path"]) for artifact, entry in zip(record["artifacts"], entries, strict=True)
            ]
        partial.save_record(record, entries)

    def _link(self, partial: PartialSet, record: dict[str, t.Any], earlier: list[BackupSet]) -> list[dict[str, t.Any]]:
        """Take over the artifacts of an unchanged component and complete its record."""
        if not earlier or record["linked"] != earlier[0].set_id:
            raise IntegrityError(
                "The module says that %s is unchanged since %s, which it was not told of"
                % (record["component"], record["linked"])
            )
        entries = []
        for artifact in artifacts_of(earlier[0].manifest, record["component"]):
            partial.link(earlier[0].folder, artifact)
            entries.append(dict(artifact, linked_from=earlier[0].set_id, seconds=0, bytes_per_second=0))
        record["artifacts"] = earlier[0].manifest["components"][record["component"]]["artifacts"]
        return entries


def manifest_entry(component: str, artifact: dict[str, t.Any], received: dict[str, Received]) -> dict[str, t.Any]:
    """Return the manifest's entry for an artifact, once what arrived is what the module says it sent.

    :raises IntegrityError: when it did not arrive or differs.
    """
    arrived = received.get(artifact["path"])
    if arrived is None:
        raise IntegrityError("The artifact %s of component %s never arrived" % (artifact["path"], component))
    if (arrived.size, arrived.sha256) != (artifact["size"], artifact["sha256"]):
        raise IntegrityError(
            "%s was stored with %d bytes and SHA-256 %s; the module made %d and %s"
            % (arrived.path, arrived.size, arrived.sha256, artifact["size"], artifact["sha256"])
        )
    seconds = round(arrived.seconds, 3)
    return {
        **arrived.entry,
        "component": component,
        "compression": artifact["compression"],
        "linked_from": None,
        "tool": artifact.get("tool"),
        "seconds": seconds,
        "bytes_per_second": int(arrived.size / seconds) if seconds else arrived.size,
    }


def summary(record: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return a component record short enough for a task's result: the fingerprint stays in the manifest."""
    kept = {name: value for name, value in record.items() if not isinstance(value, (dict, list))}
    kept["artifacts"] = record["artifacts"]
    kept["warnings"] = record.get("warnings", [])
    return kept
