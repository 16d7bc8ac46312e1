# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The store as its users reach it: action plugins in this process, with a clock and a host that the engine plays."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import random
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

from ansible_collections.authentik_ops.recovery.plugins.action import (
    authentik_backup_set,
    authentik_backup_set_copy,
    authentik_backup_set_info,
    authentik_backup_set_verify,
    authentik_pg_dump,
    authentik_prune,
    authentik_static_dirs,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._manifest import artifacts_of, plain_view
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _copy, _producer, _writer
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._identity import IdentitySource
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._opened import plain_source
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import open_store
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._stream import Received
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._transfer import Failed
from tests.engine.model import Backup

INSTANCE = "sso"


class Listing(NamedTuple):
    """What ``list`` says: ids of sets, their pins, and the names of what is none with the reason."""

    sets: dict[str, str]
    problems: dict[str, str]


class Product:
    """One instance.

    :param store: the address of the store that it is backed up to.
    :param public: a public key that some sets are encrypted to.
    :param identity: a file with the private one.
    :ivar now: the clock of all that is done.
    :ivar between: called where an artifact is written half.
    """

    def __init__(self, store: str, public: str, identity: str, now: datetime.datetime) -> None:
        self.store = store
        self.public = public
        self.identity = identity
        self.now = now
        self.entropy = random.Random(0)
        self.between: Callable[[], None] = lambda: None
        self._identities = IdentitySource(identity)

    @contextlib.contextmanager
    def played(self) -> Iterator[None]:
        """Give the plugins the engine's clock and host."""
        clock = _clock(lambda: self.now)
        shown = (
            authentik_backup_set,
            authentik_backup_set_copy,
            authentik_backup_set_info,
            authentik_backup_set_verify,
            authentik_prune,
        )
        with contextlib.ExitStack() as stack:
            for module in shown:
                stack.enter_context(mock.patch.object(module, "datetime", clock))
            entropy = SimpleNamespace(urandom=self._urandom)
            for module, name, played in (
                (authentik_backup_set, "os", entropy),
                # The run that owns a set is the process that a fault kills.
                (authentik_backup_set, "playbook_pid", os.getpid),
                (authentik_backup_set_copy, "playbook_pid", os.getpid),
                (authentik_backup_set_copy, "display", SimpleNamespace(display=lambda *_text: None)),
                (_producer, "Receiver", lambda _remote, sink, *_more: _Arrivals(sink)),
                (authentik_backup_set_verify, "Sender", lambda _remote, source, *_more: source),
                (authentik_prune, "display", SimpleNamespace(warning=lambda *_text: None)),
                (_copy, "display", SimpleNamespace(warning=lambda *_text: None)),
                (_writer, "display", SimpleNamespace(warning=lambda *_text: None)),
                (authentik_static_dirs, "display", SimpleNamespace(warning=lambda *_text: None)),
            ):
                stack.enter_context(mock.patch.object(module, name, played))
            yield

    def backup(self, content: Backup, opened: Callable[[str], None] = lambda _id: None) -> dict[str, Any]:
        """Make a set as the role does: whatever fails, the set is discarded.

        :param opened: gets the id as soon as there is one.
        """
        recipients = [self.public] if content.encrypted else []
        began = self._act(authentik_backup_set, state="open", encryption_recipients=recipients, allow_ephemeral=True)
        if began.get("failed"):
            return began
        set_id = str(began["id"])
        opened(set_id)
        result = self._fill(content, set_id)
        if not result.get("failed"):
            result = self._act(
                authentik_backup_set, state="published", id=set_id, restore_id=content.restore_id or None
            )
        if result.get("failed"):
            self._act(authentik_backup_set, state="discarded", id=set_id)
        return dict(result, id=set_id)

    def _fill(self, content: Backup, set_id: str) -> dict[str, Any]:
        for component, artifacts in content.artifacts.items():
            plugin = authentik_static_dirs if component in content.digests else authentik_pg_dump
            host = _Host(content, component, artifacts, self.between)
            result = self._stream(plugin, host.produce, {"store": self.store, "instance": INSTANCE, "id": set_id})
            if result.get("failed"):
                return result
        return {"failed": True, "msg": "the host failed"} if content.fails else {}

    def prune(self, check: bool = False, **options: Any) -> dict[str, Any]:
        """Prune; without C(only) all that the policy says."""
        return self._act(authentik_prune, check=check, **options)

    def copy(self, store: str, to_store: str, sets: list[str]) -> dict[str, Any]:
        """Copy sets from one store to another."""
        return self._act(authentik_backup_set_copy, store=store, to_store=to_store, sets=sets, allow_ephemeral=True)

    def verify(self, store: str, set_id: str, level: str, with_identity: bool) -> dict[str, Any]:
        """Verify one set."""
        where = {"store": store, "instance": INSTANCE, "id": set_id}
        if with_identity:
            where["identity_file"] = self.identity
        return self._stream(authentik_backup_set_verify, _decode, where, level=level)

    def _urandom(self, size: int) -> bytes:
        return self.entropy.randbytes(size)

    def pin(self, store: str, set_id: str, reason: str) -> dict[str, Any]:
        """Pin a set, or without a reason unpin it."""
        if reason:
            return self._act(authentik_backup_set, store=store, state="pinned", id=set_id, reason=reason)
        return self._act(authentik_backup_set, store=store, state="unpinned", id=set_id)

    def listed(self, store: str) -> Listing:
        """Return what ``list`` shows of a store."""
        result = self._act(authentik_backup_set_info, store=store)
        if result.get("failed"):
            raise AssertionError("list failed: %s" % result["msg"])
        return Listing(
            {one["id"]: one["pinned"] or "" for one in result["sets"]},
            {one["name"]: one["reason"] for one in result["problems"]},
        )

    def latest(self, store: str) -> str:
        """Return the id of what a restore would take; empty when there is nothing."""
        try:
            return open_store(store, INSTANCE).latest()[0].set_id
        except InputError:
            return ""

    def content(self, store: str, set_id: str) -> dict[str, bytes]:
        """Return what a restore reads of a set, by the names that it had on the host."""
        backup_set = open_store(store, INSTANCE).get(set_id)
        source = plain_source(backup_set, self._identities)
        found = {}
        for artifact in plain_view(backup_set.manifest)["artifacts"]:
            with source.artifact(artifact["path"]) as reader:
                found[artifact["path"]] = reader.read(1 << 24)
        return found

    def links(self, set_id: str) -> int:
        """Return how many artifacts of a set were taken over from another one."""
        manifest = open_store(self.store, INSTANCE).get(set_id, recheck=True).manifest
        return sum(artifact["linked_from"] is not None for artifact in manifest["artifacts"])

    def _act(self, plugin: Any, check: bool = False, **options: Any) -> dict[str, Any]:
        return _run(plugin.ActionModule, {"store": self.store, "instance": INSTANCE, **options}, check)

    def _stream(self, plugin: Any, host: Callable[..., Any], backup_set: dict[str, str], **options: Any) -> Any:
        def transfer(_self: Any, arguments: Any, _variables: Any, make_pump: Any, beat: Any) -> Any:
            result = host(arguments, make_pump(None, "", SimpleNamespace(chunk_size=4096, window=1), None))
            beat()
            return result

        played = type("Played", (plugin.ActionModule,), {"transfer": transfer})
        return _run(played, dict(options, backup_set=backup_set), False)


class _Arrivals:
    """What came from the host, as the receiver of the stream keeps it."""

    def __init__(self, sink: Any) -> None:
        self.sink = sink
        self.received: dict[str, Received] = {}

    def take(self, path: str, data: bytes, between: Callable[[], None]) -> None:
        """Store an artifact in two pieces."""
        with self.sink.artifact(path) as out:
            out.write(data[: len(data) // 2])
            between()
            out.write(data[len(data) // 2 :])
        self.received[path] = Received(path, out.size, out.sha256, 0.1, out.entry())


class _Host:
    """The module of one component."""

    def __init__(
        self, content: Backup, component: str, artifacts: dict[str, bytes], between: Callable[[], None]
    ) -> None:
        self._content, self._component, self._artifacts, self._between = content, component, artifacts, between

    def produce(self, arguments: dict[str, Any], pump: _Arrivals) -> dict[str, Any]:
        """Send the artifacts, or say that they are those of the set that the plugin told of."""
        record: dict[str, Any] = {"component": self._component, "artifacts": [], "deployment": "host"}
        record["fingerprint"] = self._content.fingerprints[self._component]
        earlier = arguments.get("previous", {}).get(self._component)
        if earlier and earlier["digest"] == self._content.digests[self._component]:
            return {"components": [dict(record, linked=earlier["set"])]}
        for path, data in self._artifacts.items():
            pump.take(path, data, self._between)
            digest = hashlib.sha256(data).hexdigest()
            record["artifacts"].append(
                {"path": path, "size": len(data), "sha256": digest, "compression": "none", "tool": "engine"}
            )
        return {"components": [record]}


def _decode(arguments: dict[str, Any], source: Any) -> dict[str, Any]:
    """Read everything, as the module on the host does; what every artifact ends with is its format here."""
    manifest = arguments["manifest"]
    for component in manifest["components"]:
        for artifact in artifacts_of(manifest, component):
            with source.artifact(artifact["path"]) as reader:
                if not reader.read(1 << 24).endswith(b"\n"):
                    raise Failed({"failed": True, "cause": artifact["path"], "error": "IntegrityError"})
    return {"artifacts": [artifact["path"] for artifact in manifest["artifacts"]]}


def _run(kind: Any, options: dict[str, Any], check: bool) -> dict[str, Any]:
    task = SimpleNamespace(args=options, async_val=0, check_mode=check, diff=False, action=kind.__module__)
    connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir="none"))
    result: dict[str, Any] = kind(task, connection, None, None, None, None).run()
    return result


def _clock(now: Callable[[], datetime.datetime]) -> Any:
    class Moment(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return now()

    return SimpleNamespace(datetime=Moment, timedelta=datetime.timedelta, UTC=datetime.UTC)
