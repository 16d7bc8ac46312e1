# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The files of a compose project on their way to another host: another project directory, other variables in ``.env``.

The names and contents that an archive holds go in, those that are laid down come out.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _dotenv
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._tree_digest import Entry, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any


class Placement:
    """Where the files of a set go, and what is changed in them.

    :param record: the set's component record.
    :param directory: another project directory, None for the set's.
    :param environment: variables to set in the project's ``.env``.
    :ivar said: sentences for the plan, complete when all members have been placed.
    :ivar edited: the printable paths of the files in which variables are set.
    :raises InputError: the set is of no compose project, or the options make no sense.
    """

    def __init__(
        self, record: dict[str, Any], directory: str | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self.said: list[str] = []
        self.edited: set[str] = set()
        self._values = dict(environment or {})
        _dotenv.check_names(self._values)
        project = record.get("compose")
        if project is None:
            if directory or self._values:
                raise InputError(
                    "The backup set is not of a compose project, so it has no project directory and no .env",
                    "Leave out directory and environment",
                )
            self._old = self._new = self._link = b""
            self._env_files: list[bytes] = []
            return
        self._link = _relative(project["directory"])
        self._old = _relative(project.get("real_directory") or project["directory"])
        self._new = self._old if directory is None else _relative(_absolute(directory))
        real = {item["path"]: item.get("real") or item["path"] for item in record["files"]}
        names = project["env_files"] or [os.path.join(project["directory"], ".env")]
        self._env_files = [self.place(_relative(real.get(name, name))) for name in names]

    @property
    def moves(self) -> bool:
        """Whether anything goes to another place than it came from."""
        return self._new != self._old

    def place(self, path: bytes) -> bytes:
        """Return where a name of the archive goes."""
        if not self.moves:
            return path
        for old in (self._old, self._link):
            if path == old or path.startswith(old + b"/"):
                return self._new + path[len(old) :]
        return path

    def apply(self, members: Iterable[tuple[Entry, bytes]]) -> Iterator[tuple[Entry, bytes]]:
        """Yield what is laid down: an entry and its content each, a folder before what it holds."""
        if self.moves:
            self.said.append("config: the project directory /%s becomes /%s" % (_text(self._old), _text(self._new)))
        owner: Entry | None = None
        for entry, content in self._moved(members) if self.moves else members:
            if entry.path == self._new:
                owner = entry
            if self._values and entry.kind == "f" and entry.path in self._env_files:
                yield self._edit(entry, content)
            else:
                yield entry, content
        if self._values and not self.edited:
            yield self._fresh(owner)

    def _moved(self, members: Iterable[tuple[Entry, bytes]]) -> Iterator[tuple[Entry, bytes]]:
        # Folders on the way to the old directory are only made where something else lies below them, too.
        held: list[Entry] = []
        begun = False
        for entry, content in members:
            here = self.place(entry.path)
            if here == entry.path:
                if entry.kind == "d" and self._old.startswith(entry.path + b"/"):
                    held.append(entry)
                    continue
                for folder in [one for one in held if entry.path.startswith(one.path + b"/")]:
                    held.remove(folder)
                    yield folder, b""
                yield entry, content
                continue
            if entry.kind == "l" and entry.path == self._link != self._old:
                continue  # it only led to the old directory
            if not begun:
                yield from self._way()
                begun = True
            if entry.kind == "f" and _names(content, (self._old, self._link)):
                self.said.append(
                    "config: /%s names the old directory in full; what that means on this host is left as it is"
                    % _text(here)
                )
            yield entry._replace(path=here, target=self._target(entry)), content

    def _way(self) -> Iterator[tuple[Entry, bytes]]:
        """The folders above the new project directory."""
        parts = self._new.split(b"/")
        now = time.time_ns()
        for count in range(1, len(parts)):
            yield Entry(b"/".join(parts[:count]), "d", 0o755, os.geteuid(), os.getegid(), now, 0, b"", ()), b""

    def _target(self, entry: Entry) -> bytes:
        """Return what a moved symbolic link leads to."""
        if entry.kind != "l":
            return entry.target
        if entry.target.startswith(b"/"):
            return b"/" + self.place(os.path.normpath(entry.target).strip(b"/"))
        full = os.path.normpath(b"/" + os.path.dirname(entry.path) + b"/" + entry.target).strip(b"/")
        return entry.target if self.place(full) != full else b"/" + full

    def _edit(self, entry: Entry, content: bytes) -> tuple[Entry, bytes]:
        try:
            text, found = _dotenv.set_variables(content.decode("utf-8", "surrogateescape"), self._values)
        except InputError as exc:
            raise InputError("/%s: %s" % (_text(entry.path), exc.cause), exc.hint) from None
        if entry.path == self._env_files[-1]:
            # The last file wins, so it has them all.
            text = _dotenv.add_variables(
                text, {name: value for name, value in self._values.items() if name not in found}
            )
            found = set(self._values)
        if found:
            self._note(entry.path, sorted(found))
        content = text.encode("utf-8", "surrogateescape")
        return entry._replace(size=len(content)), content

    def _fresh(self, owner: Entry | None) -> tuple[Entry, bytes]:
        path = self._env_files[-1]
        self._note(path, sorted(self._values))
        content = _dotenv.add_variables("", self._values).encode("utf-8", "surrogateescape")
        uid, gid = (owner.uid, owner.gid) if owner else (os.geteuid(), os.getegid())
        return Entry(path, "f", 0o600, uid, gid, time.time_ns(), len(content), b"", ()), content

    def _note(self, path: bytes, names: list[str]) -> None:
        self.edited.add("/" + printable(path))
        self.said.append("config: in /%s is set: %s" % (_text(path), ", ".join(names)))


def _absolute(directory: str) -> str:
    path = os.path.normpath(directory)
    if not os.path.isabs(path) or path == "/":
        raise InputError("%r cannot be a project directory" % directory, "Give an absolute path with directory")
    return path


def _relative(path: str) -> bytes:
    return os.fsencode(os.path.normpath(path)).strip(b"/")


def _text(path: bytes) -> str:
    return printable(path)


def _names(content: bytes, folders: Iterable[bytes]) -> bool:
    """Whether a file names one of these folders by its full path."""
    for folder in folders:
        start = content.find(b"/" + folder)
        while start >= 0:
            after = content[start + len(folder) + 1 : start + len(folder) + 2]
            before = content[start - 1 : start] if start else b""
            if not (after.isalnum() or after in (b"_", b"-", b".")) and not (before.isalnum() or before == b"."):
                return True
            start = content.find(b"/" + folder, start + 1)
    return False
