# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What the action plugins of producers and consumers have in common: options, the run of one transfer, results."""

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible import constants as C
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError, RecoveryError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import check_id, parse_size
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._connection import streaming_connections
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._identity import IdentitySource
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._job import AsyncJob
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._progress import Progress
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._remote_spool import RemoteSpool, quietly
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sets import LATEST
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import Store, open_store
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._stream import drive, temporary_folder

_CHUNK_SIZE = "64M"
_WINDOW = 4
_SPOOL_DIR = "/var/tmp"
_SMALLEST_CHUNK = 4096
# Starting a transfer costs a tenth of a second of waiting: a second one fills it.
_LANES = 2
# How long an aborted module may take to notice; after that its lease ends it.
_ABORT_SECONDS = 20

display = Display()


class Target(t.NamedTuple):
    """Where a task's artifacts lie on the controller, and what reads them where they are encrypted."""

    store: Store
    set_id: str
    identity: IdentitySource


class Spooling(t.NamedTuple):
    """The options of the spool: bytes of a chunk, chunks at a time, folder on the host."""

    chunk_size: int
    window: int
    spool_dir: str


class Failed(Exception):
    """The module on the host failed; its result is that of the task."""

    def __init__(self, result: dict[str, t.Any]) -> None:
        super().__init__(str(result.get("msg")))
        self.result = result


def target(backup_set: t.Any, decrypts: bool) -> Target:
    """Return the store and id that C(backup_set) names.

    :param decrypts: an identity may be named, too.
    :raises InputError: when it is not complete, or could climb out of the store.
    """
    required = {"store", "instance", "id"}
    optional = {"s3"} | ({"identity_file", "identity_command"} if decrypts else set())
    if not isinstance(backup_set, dict) or not required <= set(backup_set) <= required | optional:
        raise InputError(
            "backup_set has to hold store, instance and id, and nothing else but %s" % ", ".join(sorted(optional)),
            "It holds: %s"
            % (", ".join(sorted(map(str, backup_set))) if isinstance(backup_set, dict) else type(backup_set).__name__),
        )
    set_id = str(backup_set["id"])
    return Target(
        open_store(str(backup_set["store"]), str(backup_set["instance"]), backup_set.get("s3")),
        set_id if set_id == LATEST else check_id(set_id),
        IdentitySource(backup_set.get("identity_file"), _command(backup_set.get("identity_command"))),
    )


def _command(given: t.Any) -> list[str] | None:
    if given is None or (isinstance(given, list) and given and all(isinstance(word, str) for word in given)):
        return given
    raise InputError("identity_command has to be a list of texts: a program and its arguments", "It is %r" % (given,))


def spooling(arguments: dict[str, t.Any]) -> Spooling:
    """Return the spool's options.

    :raises InputError: when one is out of its range.
    """
    chunk_size = parse_size(arguments.get("chunk_size") or _CHUNK_SIZE)
    if chunk_size < _SMALLEST_CHUNK:
        raise InputError("chunk_size is %d bytes" % chunk_size, "Use at least %d bytes" % _SMALLEST_CHUNK)
    window = str(_WINDOW if arguments.get("window") is None else arguments["window"])
    if not window.isdigit() or int(window) < 1:
        raise InputError("window is %r" % window, "Use a whole number of chunks, 1 or more")
    return Spooling(chunk_size, int(window), str(arguments.get("spool_dir") or _SPOOL_DIR))


class StreamingAction(ActionBase):
    """Base of the action plugins: with C(backup_set) artifacts stream, without it the module simply runs."""

    TRANSFERS_FILES = False
    _supports_async = False
    _supports_check_mode = True
    # Whether it reads artifacts, and so needs an identity where they are encrypted.
    _decrypts = False

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Run the task and return its result."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        try:
            backup_set = arguments.pop("backup_set", None)
            if arguments.get("spool") is not None or arguments.get("manifest") is not None:
                raise InputError("spool and manifest are set by the action plugin alone", "Use backup_set")
            if backup_set is None:
                result.update(self._execute_module(module_args=arguments, task_vars=task_vars))
            else:
                result.update(self.stream(target(backup_set, self._decrypts), arguments, task_vars or {}))
        except Failed as exc:
            result.update(exc.result, failed=True)
        except RecoveryError as exc:
            result.update(exc.as_result(), failed=True)
        return result

    def stream(self, where: Target, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """Run the module with its artifacts coming from, or going to, the store."""
        raise NotImplementedError

    def transfer(
        self,
        arguments: dict[str, t.Any],
        task_vars: dict[str, t.Any],
        make_pump: t.Callable[[RemoteSpool, str, Spooling, Progress], t.Any],
        beat: t.Callable[[], None],
    ) -> dict[str, t.Any]:
        """Run the module asynchronously with a spool, and move artifacts until it has ended.

        :param make_pump: gets the spool, a private local folder, the spool's options and the progress.
        :raises Failed: when the module failed.
        """
        options = spooling(arguments)
        connection, lanes = streaming_connections(self._connection, self._play_context, _LANES)
        remote = RemoteSpool(connection, options.spool_dir, options.chunk_size, lanes)
        progress = Progress(display.display, str(task_vars.get("inventory_hostname", "?")))
        job = AsyncJob(self, task_vars)
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(temporary_folder(os.path.dirname(C.DEFAULT_LOCAL_TMP)))
            stack.callback(quietly, job.clean, display.warning, "remove the job's file on the host")
            stack.callback(quietly, remote.remove, display.warning, "remove the spool on the host")
            spool = {"path": remote.make(), "chunk_size": options.chunk_size, "window": options.window}
            pump = stack.enter_context(contextlib.closing(make_pump(remote, folder, options, progress)))
            try:
                started = job.start(dict(arguments, spool=spool))
                result = drive(remote, job, pump, beat) if started else job.result() or {}
            except BaseException:
                # Even a timeout of the task or a Ctrl-C must not leave the module running.
                quietly(remote.abort, display.warning, "stop the module on the host")
                quietly(lambda: job.wait(_ABORT_SECONDS), display.warning, "wait for the module on the host")
                raise
        if result.get("failed"):
            raise Failed(result)
        return result
