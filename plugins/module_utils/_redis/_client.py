# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Talks to a Redis server: the RESP2 protocol over TCP, TLS or a Unix socket, with the standard library alone."""

from __future__ import annotations

import io
import socket
import ssl

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    ConnectError,
    InputError,
    RecoveryError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Union

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import RedisSettings

    Argument = Union[str, bytes, int]

CONNECT_SECONDS = 10.0
REPLY_SECONDS = 60.0
_BATCH_BYTES = 4 << 20
_BATCH_COMMANDS = 1000

_LOGIN_HINTS = {
    "WRONGPASS": "Check redis_username and redis_password; both are case-sensitive.",
    "NOAUTH": "The server wants a password: give redis_password (and redis_username for an ACL user).",
    "NOPERM": "The ACL user may not do this: grant it, or give a user that may in redis_username.",
    "LOADING": "The server is still reading its data from disk; run again when `INFO persistence` says loading:0.",
    "MASTERDOWN": "This is a replica that lost its primary and serves no data; name the primary in redis_host.",
    "OOM": "The server's memory limit is reached: raise maxmemory (CONFIG SET maxmemory) or free memory.",
    "MISCONF": "The server refuses writes because its own saves fail; its log says why (mostly a full disk).",
    "READONLY": "This is a read-only replica; name the primary in redis_host.",
    "NOREPLICAS": "The server refuses writes while it has too few replicas (min-replicas-to-write).",
    "DENIED": "The server is in protected mode: it takes no password-less logins from other hosts.",
}


class CommandError(RecoveryError):
    """The server refused a command.

    :ivar code: the first word of its answer (``ERR``, ``NOPERM``, ``OOM`` ...).
    :ivar reply: the whole answer.
    """

    def __init__(self, cause: str, hint: str, code: str, reply: str) -> None:
        super().__init__(cause, hint)
        self.code = code
        self.reply = reply


class ErrorReply(Exception):
    """An error as one of the replies to a pipeline; nothing was raised yet."""

    @property
    def code(self) -> str:
        """First word of the answer."""
        return str(self).split(" ", 1)[0]


def address(settings: RedisSettings) -> str:
    """Return how the server is named in messages."""
    return settings.socket or "%s:%d" % (settings.host, settings.port)


def encode(arguments: tuple[Argument, ...]) -> bytes:
    """Return one command as the bytes that go to the server."""
    parts = [item if isinstance(item, bytes) else str(item).encode("utf-8") for item in arguments]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


class Client:
    """One connection, logged in. A context manager.

    Replies are bytes (bulk strings), str (status lines), int, None or lists of these.

    :param database: the database to select; the instance's own when left out.
    :param reply_seconds: how long to wait for the next byte of a reply.
    """

    def __init__(self, settings: RedisSettings, database: int | None = None, reply_seconds: float = REPLY_SECONDS):
        self._where = address(settings)
        self._socket = _open(settings, self._where)
        self._file = io.BufferedReader(socket.SocketIO(self._socket, "r"), 1 << 18)
        self.set_timeout(reply_seconds)
        try:
            self._login(settings)
            wanted = settings.db if database is None else database
            if wanted:
                self.select(wanted)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, whatever is still to come on it."""
        try:
            self._file.close()
            self._socket.close()
        except OSError:
            # Closing flushes nothing of ours; a peer that reset the connection has no news to tell.
            return

    def set_timeout(self, seconds: float) -> None:
        """Set how long to wait for the next byte."""
        self._socket.settimeout(seconds)

    def select(self, database: int) -> None:
        """Make *database* the current one."""
        self.command("SELECT", database)

    def command(self, *arguments: Argument) -> Any:
        """Run one command and return its reply; an error reply raises CommandError, or ConnectError about the login."""
        self.send(encode(arguments))
        reply = self.reply()
        if isinstance(reply, ErrorReply):
            raise self.refused(_name(arguments), reply)
        return reply

    def pipeline(self, commands: list[tuple[Argument, ...]]) -> list[Any]:
        """Run commands without waiting between them and return their replies; error replies are ErrorReply values."""
        replies: list[Any] = []
        batch: list[bytes] = []
        size = 0
        for arguments in commands:
            data = encode(arguments)
            batch.append(data)
            size += len(data)
            if size >= _BATCH_BYTES or len(batch) >= _BATCH_COMMANDS:
                replies += self._exchange(batch)
                batch, size = [], 0
        return replies + self._exchange(batch)

    def _exchange(self, batch: list[bytes]) -> list[Any]:
        self.send(b"".join(batch))
        return [self.reply() for _command in batch]

    def refused(self, name: str, reply: ErrorReply) -> RecoveryError:
        """Return the error for an error reply to the command *name*."""
        code, text = reply.code, str(reply)
        cause = "Redis at %s refused %s: %s" % (self._where, name, text)
        if code in ("WRONGPASS", "NOAUTH", "LOADING", "MASTERDOWN") or "invalid password" in text:
            return ConnectError(cause, _LOGIN_HINTS.get(code, _LOGIN_HINTS["WRONGPASS"]))
        hint = _LOGIN_HINTS.get(code, "")
        if "unknown command" in text.lower():
            hint = "The command was renamed or switched off in redis.conf."
        return CommandError(cause, hint, code, text)

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._lost(error) from error

    def line(self) -> bytes:
        """Return the next line without its end."""
        line = self.receive_line()
        return line[:-2] if line.endswith(b"\r\n") else line[:-1]

    def receive_line(self) -> bytes:
        """Return the next line with its end."""
        try:
            line = self._file.readline()
        except OSError as error:
            raise self._lost(error) from error
        if not line.endswith(b"\n"):
            raise self._lost(None)
        return line

    def read(self, count: int) -> bytes:
        """Return exactly *count* bytes."""
        try:
            data = self._file.read(count)
        except OSError as error:
            raise self._lost(error) from error
        if len(data) != count:
            raise self._lost(None)
        return data

    def read_some(self, count: int) -> bytes:
        """Return what is there, at most *count* bytes; none when the server closed the connection."""
        try:
            return self._file.read1(count)
        except OSError as error:
            raise self._lost(error) from error

    def reply(self) -> Any:
        """Read one reply."""
        line = self.line()
        kind, text = line[:1], line[1:]
        if kind == b"+":
            return text.decode("utf-8", "replace")
        if kind == b"-":
            return ErrorReply(text.decode("utf-8", "replace"))
        if kind == b":":
            return int(text)
        if kind == b"$":
            return None if text == b"-1" else self.read(int(text) + 2)[:-2]
        if kind == b"*":
            return None if text == b"-1" else [self.reply() for _item in range(int(text))]
        raise ConnectError(
            "The server at %s does not speak the Redis protocol: it answered %r" % (self._where, line[:60]),
            "Check redis_host and redis_port, and redis_tls.",
        )

    def _login(self, settings: RedisSettings) -> None:
        if settings.password is None and settings.username is None:
            return
        name = ("AUTH", settings.username) if settings.username else ("AUTH",)
        self.send(encode((*name, settings.password or "")))
        reply = self.reply()
        if not isinstance(reply, ErrorReply):
            return
        if "without any password configured" in str(reply):
            # The server wants none. What authentik is configured with works for authentik too, so go on.
            return
        raise self.refused("the login", reply)

    def _lost(self, error: OSError | None) -> ConnectError:
        if isinstance(error, socket.timeout):
            return ConnectError(
                "Redis at %s did not answer within %g seconds" % (self._where, self._socket.gettimeout() or 0),
                "It may be busy with a slow command or a fork; look at its log.",
            )
        cause = "Redis at %s closed the connection" % self._where
        return ConnectError(cause + (": %s" % error if error else ""), "It may have been stopped; look at its log.")


def _open(settings: RedisSettings, where: str) -> socket.socket:
    try:
        link = _connect_socket(settings.socket) if settings.socket else _connect_tcp(settings.host, settings.port)
    except OSError as error:
        raise ConnectError("Redis at %s cannot be reached: %s" % (where, error), _unreachable_hint(settings)) from error
    if settings.socket or not settings.tls:
        return link
    try:
        return _tls_context(settings).wrap_socket(link, server_hostname=settings.host)
    except BaseException as error:
        link.close()
        if isinstance(error, OSError):
            raise _tls_error(settings, where, error) from error
        raise


def _connect_socket(path: str) -> socket.socket:
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(CONNECT_SECONDS)
    try:
        link.connect(path)
    except BaseException:
        link.close()
        raise
    return link


def _connect_tcp(host: str, port: int) -> socket.socket:
    link = socket.create_connection((host, port), CONNECT_SECONDS)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return link


def _unreachable_hint(settings: RedisSettings) -> str:
    if settings.socket:
        return "Check redis_socket, that the server runs, and that this user may open the socket."
    return "Check that the server runs and listens there, redis_host and redis_port, and firewalls."


def _tls_context(settings: RedisSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # As authentik's own client does: "none" checks nothing, "optional" the chain; "required" also the name.
    context.check_hostname = settings.tls_reqs == "required"
    context.verify_mode = ssl.CERT_NONE if settings.tls_reqs == "none" else ssl.CERT_REQUIRED
    if settings.tls_ca_cert:
        try:
            context.load_verify_locations(settings.tls_ca_cert)
        except (OSError, ssl.SSLError) as error:
            raise InputError(
                "The CA file %s of redis_tls_ca_cert cannot be used: %s" % (settings.tls_ca_cert, error),
                "Name a PEM file that this user may read.",
            ) from error
    else:
        context.load_default_certs()
    return context


def _tls_error(settings: RedisSettings, where: str, error: OSError) -> ConnectError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return ConnectError(
            "The certificate of Redis at %s is not accepted: %s" % (where, error.verify_message),
            "Name the CA in redis_tls_ca_cert, the certificate's own name in redis_host, or loosen redis_tls_reqs.",
        )
    return ConnectError(
        "TLS with Redis at %s failed: %s" % (where, error), "Does the server speak TLS on that port? See redis_tls."
    )


def _name(arguments: tuple[Argument, ...]) -> str:
    """Return what a message may say of a command: its name and, for CONFIG and the like, the word after it."""
    words = [item for item in arguments[:2] if isinstance(item, str)]
    return " ".join(words) if words[:1] in (["CONFIG"], ["FUNCTION"], ["INFO"]) else words[0]
