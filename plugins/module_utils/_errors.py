# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Errors that tell an operator what happened, why, and what to do next.

Every failure the collection can foresee is raised as a :class:`RecoveryError`.
Only the edges (``_module`` on the host, the action plugins on the controller)
turn it into an Ansible result.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# At the beginning of a text; no option, program or path.
_WORD = re.compile(r"^[a-z]+(?=[ ,:;])")


class RecoveryError(Exception):
    """A foreseen failure.

    :param cause: what went wrong, one sentence, naming the thing and its value.
    :param hint: what usually fixes it, one sentence; may be empty.
    :param command: the next command to run, ready to paste; may be empty.
    """

    def __init__(self, cause: str, hint: str = "", command: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.hint = hint
        self.command = command

    def __str__(self) -> str:
        parts = [_sentence(self.cause)]
        if self.hint:
            parts.append(_sentence(_WORD.sub(lambda word: word.group().capitalize(), self.hint, count=1)))
        if self.command:
            parts.append("Next: %s" % self.command)
        return " ".join(parts)

    def as_result(self) -> dict[str, Any]:
        """Return the keyword arguments for ``fail_json``."""
        return {
            "msg": str(self),
            "cause": self.cause,
            "hint": self.hint,
            "next_command": self.command,
            "error": type(self).__name__,
        }


class InputError(RecoveryError):
    """An option, or a file named by one, cannot be used as given."""


class DiscoveryError(RecoveryError):
    """A fact about the instance could not be found; the hint names the option that supplies it."""


class ConnectError(RecoveryError):
    """A server could not be reached or refused the login."""


class ToolError(RecoveryError):
    """A program failed; the cause carries its exit status and the last lines it wrote to stderr."""


class IntegrityError(RecoveryError):
    """Bytes are not what was recorded: truncated, altered, or not readable to their end."""


class SpaceError(RecoveryError):
    """A file system is full or would be."""


class StateError(RecoveryError):
    """The target is not in a state in which this step is safe."""


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else text + "."
