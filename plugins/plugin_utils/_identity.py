# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Where the identities come from that encrypted sets are read with: a file, a command, the environment.

They stay in the memory of the controller: in no option, no result, no log, and not on the host.
"""

from __future__ import annotations

import os
import re
import subprocess
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import as_error
from ansible_collections.authentik_ops.recovery.plugins.module_utils._process import describe_failure, show
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._age import parse_identities

ENVIRONMENT = "AUTHENTIK_RECOVERY_IDENTITY"
HOW = (
    "Give the identity of one of them by authentik_encryption_identity_file, authentik_encryption_identity_command or"
    " the environment variable %s" % ENVIRONMENT
)

_SECRET = re.compile(r"AGE-SECRET-KEY-\S+", re.IGNORECASE)
# Somebody may have to confirm it on another device.
_COMMAND_SECONDS = 300


class IdentitySource(t.NamedTuple):
    """What the options say: a file, and a command that prints what such a file holds."""

    file: str | None = None
    command: t.Sequence[str] | None = None

    @property
    def given(self) -> bool:
        """Whether anything says where an identity is."""
        return bool(self.file or self.command or os.environ.get(ENVIRONMENT, "").strip())

    def load(self) -> list[t.Any]:
        """Return every identity that file, command and environment hold together; none where nothing is given.

        :raises RecoveryError: when one of them cannot be had or used.
        """
        found = []
        if self.file:
            found += parse_identities(_read(self.file), "The identity file %s" % self.file)
        if self.command:
            found += parse_identities(_run(self.command), "What %s printed" % show(self.command))
        if os.environ.get(ENVIRONMENT, "").strip():
            found += parse_identities(os.environb[ENVIRONMENT.encode()], "The environment variable %s" % ENVIRONMENT)
        return found


def _read(path: str) -> bytes:
    try:
        with open(os.path.expanduser(path), "rb") as stream:
            return stream.read()
    except OSError as exc:
        raise as_error("read the identity file", path, exc) from exc


def _run(command: t.Sequence[str]) -> bytes:
    argv = list(command)
    if any(_SECRET.search(word) for word in argv):
        raise InputError(
            "authentik_encryption_identity_command holds an identity, where other users and logs can see it",
            "Name a program that prints it, or a file by authentik_encryption_identity_file, and make a new identity",
        )
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_COMMAND_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise _failed("%s cannot be run: %s" % (show(argv), getattr(exc, "strerror", None) or exc)) from exc
    if done.returncode != 0:
        said = _SECRET.sub("(an identity)", done.stderr.decode("utf-8", "replace"))
        raise _failed(describe_failure(argv, done.returncode, said))
    return done.stdout


def _failed(how: str) -> InputError:
    return InputError(
        "The command for the identity failed: %s" % how,
        "authentik_encryption_identity_command is a program with its arguments as a list, run on the controller",
    )
