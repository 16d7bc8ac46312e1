# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""A pg_dump archive as it comes in: its table of contents, a full decode, and the load into a database.

The bytes pass once. What is read for the table of contents is kept and used again.
"""

from __future__ import annotations

import contextlib
import re
import threading
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _process
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError, ToolError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import _archive_rows
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._connection import (
    Connection,
    conninfo_database,
)

if TYPE_CHECKING:
    from typing import IO, Callable, Iterator, Sequence

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import PostgresSettings
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import Reader
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._tools import Install

_BLOCK = 256 * 1024
_DAMAGED = "use another backup set; `list` shows them"
_DECOMPRESSORS = {"zstd": ["zstd", "-dcq"], "gzip": ["gzip", "-dc"]}

# Since 17 pg_restore sets a parameter that older servers don't know. It stands among the first lines, before any data.
_FIRST_WITH_TRANSACTION_TIMEOUT = 17
_WRITABLE = {"PGOPTIONS": "-c default_transaction_read_only=off"}
_DROP_TRANSACTION_TIMEOUT = "1,40{/^SET transaction_timeout = 0;$/d}"

_KINDS_BEFORE_TAG = re.compile(
    r"(?P<id>\d+); \d+ \d+ (?P<kind>COMMENT|DEFAULT ACL|ACL|EXTENSION|EVENT TRIGGER|FOREIGN DATA WRAPPER|"
    r"PROCEDURAL LANGUAGE|SUBSCRIPTION|[A-Z]+(?: [A-Z]+)*) (?P<schema>-|\S+) (?P<rest>.*)$"
)
_ROLE = re.compile(r'\b(?:TO|FROM|FOR ROLE) ("(?:[^"]|"")+"|[a-z_][a-z0-9_$]*|PUBLIC)')


class Entry(NamedTuple):
    """A line of the table of contents: ``rest`` is the object's tag and owner."""

    line: str
    kind: str
    rest: str


class Contents(NamedTuple):
    """The table of contents."""

    entries: list[Entry]

    def extensions(self) -> list[str]:
        """Return the names of the extensions the archive creates."""
        return [entry.rest.strip() for entry in self.entries if entry.kind == "EXTENSION"]

    def of_kinds(self, kinds: Sequence[str]) -> list[Entry]:
        """Return the entries of these kinds."""
        return [entry for entry in self.entries if entry.kind in kinds]

    def without_extensions(self, names: Sequence[str]) -> list[str] | None:
        """Return the lines for ``pg_restore -L`` without these extensions and their comments, None for all lines."""
        if not names:
            return None
        unwanted = {("EXTENSION", name) for name in names} | {("COMMENT", "EXTENSION " + name) for name in names}
        return [entry.line for entry in self.entries if (entry.kind, entry.rest.strip()) not in unwanted]


def parse_contents(listing: str) -> Contents:
    """Return what ``pg_restore -l`` printed. Pure."""
    entries = []
    for line in listing.splitlines():
        found = _KINDS_BEFORE_TAG.match(line)
        if found:
            entries.append(Entry(line, found.group("kind"), found.group("rest")))
    return Contents(entries)


def parse_granted_roles(statements: str) -> set[str]:
    """Return the roles that GRANT, REVOKE and ALTER DEFAULT PRIVILEGES statements name. Pure."""
    roles: set[str] = set()
    for line in statements.splitlines():
        if line.startswith(("GRANT ", "REVOKE ", "ALTER DEFAULT PRIVILEGES ")):
            roles.update(_unquote(name) for name in _ROLE.findall(line))
    return roles - {"PUBLIC"}


def _unquote(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


class Target(NamedTuple):
    """Where an archive is loaded: as whom (``role`` is assumed after the login, None for the login's own)."""

    settings: PostgresSettings
    database: str
    server_major: int
    role: str | None
    skip_privileges: bool
    keep_lines: list[str] | None


class Archive:
    """One artifact while it is read.

    :param reader: the artifact's bytes.
    :param path: its name in the set, for messages.
    :param compression: of the whole file from outside: ``zstd`` or ``gzip``; anything else is pg_dump's own business.
    :param tools: the PostgreSQL programs to use.
    :param connection: says where they run.
    """

    def __init__(self, reader: Reader, path: str, compression: str, tools: Install, connection: Connection) -> None:
        self.path = path
        self.size = 0
        self._reader = reader
        self._tools = tools
        self._connection = connection
        self._kept: list[bytes] = []
        self._contents: Contents | None = None
        self._before: list[_process.Command] = []
        if compression in _DECOMPRESSORS:
            self._before = [self._decompressor(compression)]

    def _decompressor(self, compression: str) -> _process.Command:
        program, *arguments = _DECOMPRESSORS[compression]
        found = _process.find_program(program)
        if found is not None:
            return _process.Command([found, *arguments])
        # The server's container may have what its host has not.
        container = self._connection.settings.container
        where = "on this host"
        if container is not None:
            if self._connection.run([program, "--version"], login=False, check=False).status == 0:
                return self._connection.command([program, *arguments], login=False)
            where += ", nor in container %s" % container.name
        raise ToolError(
            "%s is compressed with %s, and the program %s is not installed %s"
            % (self.path, compression, program, where),
            hint="install the package %s on this host" % program,
        )

    def contents(self) -> Contents:
        """Return the table of contents.

        :raises IntegrityError: when the archive's beginning is no archive of this pg_restore's kind.
        """
        if self._contents is None:
            listing = self._of_the_beginning(["-l"], self._keep_more)
            self._contents = parse_contents(listing)
        return self._contents

    def granted_roles(self) -> set[str]:
        """Return the roles that the archive's privileges name."""
        lines = [entry.line for entry in self.contents().of_kinds(("ACL", "DEFAULT ACL"))]
        if not lines:
            return set()
        with self._connection.list_file(lines) as (name, descriptors):
            statements = self._of_the_beginning(["-L", name, "-f", "-"], lambda: b"", descriptors)
        return parse_granted_roles(statements)

    def decode(self, rows: _archive_rows.Rows | None = None) -> None:
        """Read all of it to the end and have pg_restore decode every row.

        :param rows: what of it is wanted as text besides.
        :raises IntegrityError: when that fails, or the checksum does.
        """
        pg_restore = self._tools.path("pg_restore")
        command = self._connection.command([pg_restore, "-f", "/dev/null"], login=False)
        try:
            with contextlib.ExitStack() as stack:
                also: list[Callable[[bytes], None]] = []
                finish: list[Callable[[], object]] = []
                if self._before:
                    # Once pg_restore needs no more, the one before it ends too, and its last checksum is not read.
                    whole = stack.enter_context(_process.Pipeline(self._before, stdin=True, stdout=False))
                    also.append(_until_it_breaks(whole.stdin))
                    finish.append(whole.finish)
                if rows is not None and rows.lines:
                    beside = _archive_rows.Beside(self._before, pg_restore, self._connection, rows)
                    also.append(stack.enter_context(beside).feed)
                    finish.append(beside.finish)
                self._pass_on([*self._before, command], also)
                for end in finish:
                    end()
        except ToolError as exc:
            raise IntegrityError(
                "%s cannot be decoded although its checksum is right: %s" % (self.path, exc.cause), hint=_DAMAGED
            ) from exc

    def load(self, target: Target) -> None:
        """Load it into a database, stopping at the first error.

        :raises ToolError: when the server refuses something; IntegrityError: when the bytes are not what was recorded.
        """
        arguments = ["--exit-on-error", "--no-owner"]
        arguments += ["--no-privileges"] if target.skip_privileges else []
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(Connection(target.settings))
            descriptors: tuple[int, ...] = ()
            if target.keep_lines is not None:
                name, descriptors = stack.enter_context(connection.list_file(target.keep_lines))
                arguments += ["-L", name]
            if self._needs_psql(target):
                commands = self._through_psql(target, arguments, descriptors, connection)
            else:
                arguments += ["--no-password", "--dbname", conninfo_database(target.database)]
                arguments += ["--role", target.role] if target.role else []
                argv = [self._tools.path("pg_restore"), *arguments]
                commands = [connection.command(argv, target.database, _WRITABLE, pass_fds=descriptors)]
            self._pass_on([*self._before, *commands])

    def _needs_psql(self, target: Target) -> bool:
        return self._tools.major >= _FIRST_WITH_TRANSACTION_TIMEOUT > target.server_major

    def _through_psql(
        self, target: Target, arguments: list[str], descriptors: Sequence[int], connection: Connection
    ) -> list[_process.Command]:
        """For a server older than the archive's format: as SQL, without the one statement such a server refuses."""
        sed = _process.find_program("sed")
        if sed is None:
            raise ToolError("the program sed is not installed on this host", hint="install the package sed")
        role = ["--role", target.role] if target.role else []
        psql = [self._tools.path("psql"), "-X", "-q", "-o", "/dev/null", "-v", "ON_ERROR_STOP=1", "--no-password"]
        pg_restore = [self._tools.path("pg_restore"), *arguments, *role, "-f", "-"]
        return [
            connection.command(pg_restore, login=False, pass_fds=descriptors),
            _process.Command([sed, "-e", _DROP_TRANSACTION_TIMEOUT], {"LC_ALL": "C"}),
            connection.command(psql, target.database, _WRITABLE),
        ]

    def _keep_more(self) -> bytes:
        data = self._reader.read(_BLOCK)
        self.size += len(data)
        self._kept.append(data)
        return data

    def _blocks(self) -> Iterator[bytes]:
        """Yield all of the archive: what was kept of its beginning, then the rest."""
        kept, self._kept = self._kept, []
        yield from kept
        while True:
            data = self._reader.read(_BLOCK)
            self.size += len(data)
            if not data:
                return
            yield data

    def _of_the_beginning(self, arguments: list[str], more: Callable[[], bytes], fds: Sequence[int] = ()) -> str:
        """Return what pg_restore prints from the table of contents; it stops reading where that ends."""
        argv = [self._tools.path("pg_restore"), *arguments]
        command = self._connection.command(argv, login=False, pass_fds=fds)
        with _process.Pipeline([*self._before, command], stdin=True) as pipeline:
            output = _Collector(pipeline.stdout)
            with contextlib.suppress(BrokenPipeError):
                for data in list(self._kept):
                    pipeline.stdin.write(data)
                while output.is_alive():
                    data = more()
                    if not data:
                        break
                    pipeline.stdin.write(data)
                pipeline.stdin.close()
            listing = output.text()
            ended = pipeline.finish(check=False)
        if ended[-1].status != 0:
            self._read_to_the_end()
            raise IntegrityError(
                "%s is not an archive that pg_restore %s can read: %s"
                % (self.path, self._tools.version, _process.last_lines(ended[-1].stderr)),
                hint=_DAMAGED,
            )
        return listing

    def _pass_on(self, commands: list[_process.Command], also: Sequence[Callable[[bytes], None]] = ()) -> None:
        """Give all of the archive to programs.

        :param also: who gets every block besides, also those that the programs need no more.
        """
        reads = True
        with _process.Pipeline(commands, stdin=True, stdout=False) as pipeline:
            for data in self._blocks():
                try:
                    if reads:
                        pipeline.stdin.write(data)
                except BrokenPipeError:
                    reads = False
                for feed in also:
                    feed(data)
                if not reads and not also:
                    break
            ended = pipeline.finish(check=False)
        if ended[-1].status == 0 and all(done.status == 0 for done in ended[len(self._before) :]):
            return  # what came before it may have been told that its reader needs no more
        culprit = _process.find_culprit(ended)
        self._read_to_the_end()
        if culprit is not None:
            raise ToolError(_process.describe_failure(culprit.argv, culprit.status, culprit.stderr))

    def _read_to_the_end(self) -> None:
        """A wrong checksum says more than what a program made of the altered bytes: it is raised here."""
        for _data in self._blocks():
            pass


def _until_it_breaks(pipe: IO[bytes]) -> Callable[[bytes], None]:
    """Return what writes to a program until that reads no more: its exit status tells why."""

    def feed(data: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):
            pipe.write(data)

    return feed


class _Collector:
    """Reads a program's output while its input is still being written."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._parts: list[bytes] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            data = self._stream.read(65536)
            if not data:
                return
            self._parts.append(data)

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def text(self) -> str:
        self._thread.join()
        return b"".join(self._parts).decode("utf-8", "replace")
