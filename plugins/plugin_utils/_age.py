# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The age format: recipients, identities, and streams in both directions.

The library reads from one file object and writes into another, in pieces of some KiB. It runs in a thread of its own
at the far end of a pipe, so that memory does not grow with what passes through.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import io
import os
import shlex
import sys
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    IntegrityError,
    RecoveryError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import BLOCK, Reader

_REQUIREMENT = "pyrage>=1.2"
_NO_MATCH = "No matching keys"


class WrongIdentityError(InputError):
    """None of the identities is that of a recipient."""


class Writer(t.Protocol):
    """What files and artifacts have in common."""

    def write(self, data: bytes, /) -> int:
        """Write all of the data and return its length."""


def library() -> t.Any:
    """Return the library.

    :raises InputError: when it is not installed for the Python that runs Ansible, or too old to stream.
    """
    try:
        import pyrage

        _streams = (pyrage.encrypt_io, pyrage.decrypt_io)
    except (ImportError, AttributeError) as exc:
        raise InputError(
            "Encrypted backup sets need the Python package pyrage on the controller, 1.2 or newer: %s" % exc,
            "Install it for the Python that runs ansible-playbook; in an execution environment add it to its image",
            "%s -m pip install %s" % (shlex.quote(sys.executable), shlex.quote(_REQUIREMENT)),
        ) from exc
    return pyrage


def check_recipients(given: t.Iterable[str]) -> list[str]:
    """Return the public keys in the one form in which they are compared: without comments, sorted, each once.

    :raises InputError: naming the one that is none.
    """
    return sorted({_check_recipient(str(text), number) for number, text in enumerate(given, start=1)})


def _check_recipient(text: str, number: int) -> str:
    hint = (
        "Give a public key: age1... (age-keygen -y FILE shows it), or that of an ssh-ed25519 key or of an ssh-rsa key"
        " of 2048 bits or more"
    )
    if "SECRET-KEY" in text.upper() or "PRIVATE KEY" in text.upper():
        raise InputError(
            "Number %d of authentik_encryption_recipients is a private key, which does not belong here" % number,
            "%s. Whoever may have seen the private one can read what is encrypted to it: make a new pair" % hint,
        )
    words = text.split()
    # What follows the two words of an ssh key is a comment.
    key = " ".join(words[: 2 if words and words[0].startswith("ssh-") else len(words)])
    _recipient(key, "Number %d of authentik_encryption_recipients, %r," % (number, text), hint)
    return key


def _recipient(key: str, label: str, hint: str) -> t.Any:
    pyrage = library()
    kind = pyrage.ssh if key.startswith("ssh-") else pyrage.x25519
    try:
        return kind.Recipient.from_str(key)
    except pyrage.RecipientError as exc:
        raise InputError("%s cannot be encrypted to: %s" % (label, exc), hint) from exc


def parse_identities(text: bytes, label: str) -> list[t.Any]:
    """Return the identities that the content of an identity file holds.

    :param label: says in errors where it came from. The content is in none of them.
    :raises InputError: when it holds none, or one that cannot be used.
    """
    if b"-----BEGIN AGE ENCRYPTED FILE-----" in text or text.startswith(b"age-encryption.org/"):
        raise InputError(
            "%s is protected by a passphrase, and nobody can be asked for it in the middle of a run" % label,
            "Unlock it for one run, in the environment",
            'AUTHENTIK_RECOVERY_IDENTITY="$(age -d FILE)" ansible-playbook ...',
        )
    if b"-----BEGIN" in text:
        return [_ssh_identity(text.strip() + b"\n", label)]
    found = []
    for number, line in enumerate(text.decode("utf-8", "replace").splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            found.append(_age_identity(line.strip(), "Line %d of %s" % (number, label[:1].lower() + label[1:])))
    if not found:
        raise InputError(
            "%s holds no identity" % label, "An identity begins with AGE-SECRET-KEY-1, or is a private ssh key"
        )
    return found


def _age_identity(line: str, label: str) -> t.Any:
    pyrage = library()
    try:
        return pyrage.x25519.Identity.from_str(line)
    except pyrage.IdentityError as exc:
        hint = "An identity begins with AGE-SECRET-KEY-1, or is a private ssh key"
        if line.startswith(("age1", "ssh-")):
            hint = "That is a public key, with which nothing can be read: give the private one. " + hint
        elif line.startswith(("AGE-PLUGIN-", "AGE-SECRET-KEY-PQ-")):
            hint = "Identities of plugins and post-quantum ones cannot be used here. " + hint
        raise InputError("%s is not an identity: %s" % (label, exc), hint) from exc


def _ssh_identity(text: bytes, label: str) -> t.Any:
    pyrage = library()
    try:
        return pyrage.ssh.Identity.from_buffer(text)
    except pyrage.IdentityError as exc:
        raise InputError(
            "%s is an ssh key that cannot be used: %s" % (label, exc),
            "It has to be an ssh-ed25519 or ssh-rsa key without a passphrase: make a copy, take the passphrase off that"
            " (ssh-keygen -p -N '' -f COPY), and delete it after the restore",
        ) from exc


class _Noting:
    """A file object for the library, which passes errors on as mere text, or not at all: it keeps them.

    :ivar error: what went wrong in it.
    """

    def __init__(self, stream: t.Any) -> None:
        self.error: BaseException | None = None
        self._stream = stream

    def read(self, size: int) -> bytes:
        """Return up to size bytes."""
        return self._noting(lambda: self._stream.read(size))

    def write(self, data: bytes) -> int:
        """Write all of the data."""
        return self._noting(lambda: self._stream.write(data))

    def flush(self) -> None:
        """The streams behind it keep nothing back that this could write."""

    def _noting(self, work: t.Callable[[], t.Any]) -> t.Any:
        try:
            return work()
        except (RecoveryError, OSError) as exc:
            self.error = self.error or exc
            raise


def _encrypt(source: t.Any, out: Writer, recipients: t.Sequence[str]) -> None:
    pyrage = library()
    keys = [_recipient(key, "The recipient %r" % key, "") for key in recipients]
    inp, noting = _Noting(source), _Noting(out)
    try:
        pyrage.encrypt_io(inp, noting, keys)
    except (pyrage.EncryptError, OSError, RecoveryError) as exc:
        raise noting.error or inp.error or exc from exc
    if noting.error:
        raise noting.error


def _decrypt(source: Reader, out: Writer, identities: t.Sequence[t.Any], label: str) -> None:
    pyrage = library()
    inp, noting = _Noting(source), _Noting(out)
    try:
        pyrage.decrypt_io(inp, noting, list(identities))
    except (pyrage.DecryptError, OSError, RecoveryError) as exc:
        if inp.error or noting.error:
            raise (inp.error or noting.error) from exc  # type: ignore[misc]
        # A file that was altered says so itself, when it is read to its end.
        while source.read(BLOCK):
            pass
        if _NO_MATCH in str(exc):
            raise WrongIdentityError("%s is encrypted to none of the identities that were given" % label) from exc
        raise IntegrityError(
            "%s cannot be decrypted: %s" % (label, exc),
            "It was truncated or altered after it was saved: use another backup set",
        ) from exc
    if inp.error or noting.error:
        raise (inp.error or noting.error)  # type: ignore[misc]


def encrypt_bytes(data: bytes, recipients: t.Sequence[str]) -> bytes:
    """Return a few bytes encrypted."""
    out = io.BytesIO()
    _encrypt(io.BytesIO(data), out, recipients)
    return out.getvalue()


def decrypt_bytes(data: bytes, identities: t.Sequence[t.Any], label: str) -> bytes:
    """Return a few bytes decrypted.

    :raises WrongIdentityError: when they are encrypted to others.
    :raises IntegrityError: when they were altered.
    """
    out = io.BytesIO()
    _decrypt(io.BytesIO(data), out, identities, label)
    return out.getvalue()


class _Far:
    """The far end of a pipe: work that reads from it or writes into it, in a thread."""

    def __init__(self) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(1)
        self._work: concurrent.futures.Future[None] | None = None

    def begin(self, descriptor: int, mode: str, work: t.Callable[[t.Any], None]) -> None:
        """Start; the end is closed with the work, so that the near one notices."""

        def whole() -> None:
            with open(descriptor, mode, buffering=BLOCK if mode == "rb" else 0) as end:
                work(end)

        self._work = self._pool.submit(whole)

    def result(self) -> None:
        """Wait for the end of the work, and raise what ended it."""
        if self._work is not None:
            self._work.result()

    def close(self) -> None:
        """Wait for the end of the work, whatever it was."""
        self._pool.shutdown(wait=True)


class _PipeWriter:
    """The near end through which plain bytes go to be encrypted."""

    def __init__(self, stream: io.RawIOBase, far: _Far) -> None:
        self._stream, self._far = stream, far

    def write(self, data: bytes) -> int:
        """Write all of the data.

        :raises RecoveryError: what the far end met.
        """
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._stream.write(rest) :]
        except BrokenPipeError:
            self._far.result()
            raise
        return len(data)


class _PipeReader:
    """The near end from which decrypted bytes come."""

    def __init__(self, stream: Reader, far: _Far) -> None:
        self._stream, self._far = stream, far

    def read(self, size: int) -> bytes:
        """Return up to size bytes, nothing at the end.

        :raises RecoveryError: when the end is none, but what the far end met.
        """
        data = self._stream.read(size)
        if not data:
            self._far.result()
        return data


@contextlib.contextmanager
def encrypting(out: Writer, recipients: t.Sequence[str]) -> t.Iterator[_PipeWriter]:
    """Yield a writer: what it is given arrives encrypted in C(out). Left normally, all of it has.

    :raises RecoveryError: what C(out) raised.
    """
    reading, writing = os.pipe()
    far = _Far()
    with contextlib.closing(far):
        with open(writing, "wb", buffering=0) as near:
            far.begin(reading, "rb", lambda end: _encrypt(end, out, recipients))
            yield _PipeWriter(near, far)
        far.result()


@contextlib.contextmanager
def decrypting(source: Reader, identities: t.Sequence[t.Any], label: str) -> t.Iterator[_PipeReader]:
    """Yield a reader of the decrypted content of C(source). What it gives was authenticated by age, piece by piece.

    :param label: names the content in errors.
    """
    reading, writing = os.pipe()
    far = _Far()
    with contextlib.closing(far), open(reading, "rb", buffering=BLOCK) as near:
        far.begin(writing, "wb", lambda end: _decrypt(source, end, identities, label))
        yield _PipeReader(near, far)
