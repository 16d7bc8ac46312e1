# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Base of the action plugins that reach the bucket of an instance's files: the host is asked how, once per task."""

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    RecoveryError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._object_storage import STORAGE_S3_SPEC
from ansible_collections.authentik_ops.recovery.plugins.module_utils._restore_lease import FOLDER
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._bucket_read import Bucket
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._liveness import playbook_pid
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_client import Location, make_client
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_errors import name_option
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_location import SCHEME
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sign_of_life import SignOfLife
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._transfer import Failed

_OPTION = "storage_s3"
_CREDENTIALS = ("access_key", "secret_key", "session_token", "profile")

display = Display()


class Storage(t.NamedTuple):
    """The bucket, and the key by which an index of it stays readable for the next backup; empty where there is none."""

    bucket: Bucket
    index_key: str


class BucketAction(ActionBase):
    """Works on the controller; the host only tells where the files are."""

    TRANSFERS_FILES = False
    _supports_async = False
    _supports_check_mode = True

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Run the task and return its result."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        try:
            result.update(self.work(dict(self._task.args), task_vars or {}))
        except Failed as exc:
            result.update(exc.result, failed=True)
        except RecoveryError as exc:
            result.update(exc.as_result(), failed=True)
        return result

    def work(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """Do the task."""
        raise NotImplementedError

    def storage(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> tuple[Storage, dict[str, t.Any]]:
        """Ask the host for the storage, and return it with what else the module says.

        :param arguments: of the task. What is for the controller alone is not sent to the host.
        :raises Failed: when the module failed.
        :raises InputError: when the settings cannot be used.
        """
        given = arguments.pop("storage_s3", None)
        checked(given)
        told = self._ask(arguments, task_vars)
        found = told.pop("storage", None)
        if told.get("failed") or not isinstance(found, dict):
            raise Failed(told)
        told.pop("invocation", None)
        return self.connect(found, given), told

    def connect(self, found: t.Mapping[str, t.Any], given: t.Any) -> Storage:
        """Return the storage that the host told of.

        :param given: the option C(storage_s3).
        :raises RecoveryError: when it cannot be used.
        """
        options = merged(found["connection"], checked(given))
        name = options.pop("bucket", "")
        if not name:
            raise InputError(
                "The bucket of the instance's files is not known", "Give its name as bucket of the option storage_s3"
            )
        try:
            client = make_client(options, display.display, _OPTION)
            place = Location.parse(SCHEME + name)
        except RecoveryError as exc:
            raise name_option(exc, _OPTION) from exc.__cause__
        bucket = Bucket(client, place, tuple(found["folders"]), found["default_schema"])
        return Storage(bucket, found["index_key"])

    @contextlib.contextmanager
    def going(self, task_vars: dict[str, t.Any]) -> t.Iterator[t.Callable[[], None]]:
        """Give signs of life on the host for the restore that this is a part of, where it is one.

        :returns: what refuses to go on: when the playbook run was killed, or the restore is another run's.
        """
        run, environment = playbook_pid(), dict[str, t.Any]()
        self._compute_environment_string(environment)
        folder = environment.get(FOLDER)
        if not folder:
            yield lambda: keep_going(run)
            return
        work_dir, restore_id = os.path.split(str(folder))

        def give() -> dict[str, t.Any]:
            # It changes nothing; that it runs is the sign.
            name, arguments = "authentik_ops.recovery.authentik_restore_record", {"work_dir": work_dir}
            arguments["restore_id"] = restore_id
            return dict(self._execute_module(module_name=name, module_args=arguments, task_vars=task_vars))

        with SignOfLife(give) as life:

            def check() -> None:
                keep_going(run)
                life.check()

            yield check

    def _ask(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """Run the module. What it answers holds keys: connections would show it with -vvv."""
        before, self._play_context.no_log = self._play_context.no_log, True
        try:
            return dict(self._execute_module(module_args=arguments, task_vars=task_vars))
        finally:
            self._play_context.no_log = before


def checked(given: t.Any) -> dict[str, t.Any]:
    """Return the option C(storage_s3) without what was left out.

    :raises InputError: when it is none.
    """
    validated = ArgumentSpecValidator(STORAGE_S3_SPEC).validate({} if given is None else {"storage_s3": given})
    if validated.error_messages:
        raise InputError("; ".join(validated.error_messages), "Correct storage_s3")
    found = validated.validated_parameters.get("storage_s3") or {}
    if not found:
        defaults = STORAGE_S3_SPEC["storage_s3"]["options"]
        return {name: one["default"] for name, one in defaults.items() if "default" in one}
    return {name: value for name, value in found.items() if value not in (None, "")}


def merged(configured: t.Mapping[str, t.Any], given: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the settings of a connection: the instance's, and over them what was given. Pure.

    Credentials are those of one of both. Of the configuration, keys are taken rather than a profile, which the
    controller need not have.
    """
    own = dict(configured)
    if any(given.get(name) for name in _CREDENTIALS):
        own = {name: value for name, value in own.items() if name not in _CREDENTIALS}
    elif own.get("access_key") and own.get("secret_key"):
        own.pop("profile", None)
    elif own.get("profile"):
        own = {name: value for name, value in own.items() if name not in ("access_key", "secret_key", "session_token")}
    if not own.get("access_key"):
        own.pop("session_token", None)
    return {**own, **given}


def keep_going(pid: int) -> None:
    """Refuse to go on when the playbook run was killed: its workers outlive it."""
    if playbook_pid() != pid:
        raise StateError("The playbook run %d was killed" % pid, "Run it again: it clears what was left")
