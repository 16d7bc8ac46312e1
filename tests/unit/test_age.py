# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Recipients and identities: which are taken, and what is said of the others, without giving a secret away."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    IntegrityError,
    RecoveryError,
    SpaceError,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _age
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._identity import ENVIRONMENT, IdentitySource
from tests.support.age import age_key, decrypt, ssh_key

CHUNK = 65536


@pytest.fixture(autouse=True)
def _no_identity_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)


def test_recipients_are_compared_without_comments_and_order(tmp_path: Path) -> None:
    one, two = age_key(tmp_path, "one").public, age_key(tmp_path, "two").public
    ssh = ssh_key(tmp_path, "ssh", "ed25519").public
    bare = " ".join(ssh.split()[:2])
    assert _age.check_recipients([ssh, one + "\n", " " + two, one]) == sorted([bare, one, two])
    assert _age.check_recipients([]) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "''"),
        ("age1mistyped", "'age1mistyped'"),
        ("me@example.org", "'me@example.org'"),
        ("ssh-ed25519 AAAA me", "'ssh-ed25519 AAAA me'"),
        ("ecdsa-sha2-nistp256 AAAA", "ecdsa-sha2-nistp256"),
        ("age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t", "age1yubikey1"),
    ],
)
def test_a_mistaken_recipient_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        _age.check_recipients([age_key(tmp_path, "good").public, text])
    assert says in caught.value.cause
    assert "Number 2 of authentik_encryption_recipients" in caught.value.cause
    assert "age-keygen -y" in caught.value.hint


def test_an_ssh_key_that_is_too_short_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2048"):
        _age.check_recipients([ssh_key(tmp_path, "short", "rsa", bits=1024).public])


def test_a_private_key_among_the_recipients_is_not_repeated(tmp_path: Path) -> None:
    ssh = ssh_key(tmp_path, "ssh", "ed25519").identity
    for secret in (age_key(tmp_path, "key").identity.split()[-1], ssh, ssh.lower()):
        with pytest.raises(InputError, match="is a private key") as caught:
            _age.check_recipients([secret])
        assert secret.split()[-1] not in str(caught.value)


def test_identities_of_file_command_and_environment_are_all_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [age_key(tmp_path, "file"), ssh_key(tmp_path, "command", "rsa"), age_key(tmp_path, "environment")]
    stranger = age_key(tmp_path, "stranger")
    monkeypatch.setenv(ENVIRONMENT, keys[2].identity)
    given = IdentitySource(str(keys[0].file), ["cat", str(keys[1].file)])
    assert given.given
    for key in keys:
        assert _age.decrypt_bytes(_age.encrypt_bytes(b"secret", [key.public]), given.load(), "x") == b"secret"
    with pytest.raises(_age.WrongIdentityError, match="x is encrypted to none of the identities"):
        _age.decrypt_bytes(_age.encrypt_bytes(b"secret", [stranger.public]), given.load(), "x")
    monkeypatch.setenv(ENVIRONMENT, " ")
    assert not IdentitySource().given
    assert IdentitySource().load() == []


def test_a_file_may_hold_several_identities_and_windows_line_ends(tmp_path: Path) -> None:
    one, two = age_key(tmp_path, "one"), age_key(tmp_path, "two")
    both = tmp_path / "both"
    both.write_text((one.identity + "\n" + two.identity).replace("\n", "\r\n"), newline="")
    assert len(IdentitySource(str(both)).load()) == 2


@pytest.mark.parametrize(
    ("content", "says", "hint"),
    [
        (b"", "holds no identity", "AGE-SECRET-KEY-1"),
        (b"# only a comment\n", "holds no identity", "AGE-SECRET-KEY-1"),
        (b"\n\nAGE-SECRET-KEY-1NOTSOSECRET\n", "Line 3 of the identity file", "AGE-SECRET-KEY-1"),
        (b"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p", "Line 1", "That is a public key"),
        (b"AGE-PLUGIN-YUBIKEY-1QQQ", "Line 1", "plugins"),
        (b"-----BEGIN CERTIFICATE-----\nMIIB\n", "is an ssh key that cannot be used", "ssh-rsa"),
        (b"-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n", "is protected by a passphrase", "Unlock it"),
        (b"age-encryption.org/v1\n-> scrypt x 18\n", "is protected by a passphrase", "Unlock it"),
    ],
)
def test_what_is_no_identity_is_said_without_showing_it(tmp_path: Path, content: bytes, says: str, hint: str) -> None:
    file = tmp_path / "key.txt"
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        IdentitySource(str(file)).load()
    assert says in caught.value.cause
    assert str(file) in caught.value.cause
    assert hint in caught.value.hint
    assert "NOTSOSECRET" not in str(caught.value)


def test_an_ssh_key_with_a_passphrase_is_refused_with_the_way_out(tmp_path: Path) -> None:
    key = ssh_key(tmp_path, "locked", "ed25519", passphrase="secret")
    with pytest.raises(InputError, match="decrypted first") as caught:
        IdentitySource(str(key.file)).load()
    assert "ssh-keygen -p" in caught.value.hint


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["/nowhere/vault"], "cannot be run: No such file"),
        (["sh", "-c", "echo the vault is sealed >&2; exit 3"], "exit status 3: the vault is sealed"),
        (["sh", "-c", "echo AGE-SECRET-${X:-KEY}-1XYZ >&2; exit 3"], "exit status 3: (an identity)"),
        (["true"], "What true printed holds no identity"),
    ],
)
def test_a_command_that_gives_none_is_named(command: list[str], says: str) -> None:
    with pytest.raises(RecoveryError) as caught:
        IdentitySource(None, command).load()
    assert says in caught.value.cause
    assert "KEY-1XYZ" not in str(caught.value)


def test_an_identity_in_the_arguments_of_a_command_is_refused_and_not_repeated() -> None:
    with pytest.raises(InputError, match="holds an identity") as caught:
        IdentitySource(None, ["echo", "AGE-SECRET-KEY-1XYZ"]).load()
    assert "1XYZ" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecoveryError, match=r"read the identity file .*missing"):
        IdentitySource(str(tmp_path / "missing")).load()


def test_without_the_library_the_package_and_the_command_are_named() -> None:
    """In a process of its own, whose Python cannot import the library."""
    code = (
        "import sys; sys.modules['pyrage'] = None\n"
        "from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _age\n"
        "print(_age.check_recipients([]))\n"
        "try: _age.check_recipients(['age1x'])\n"
        "except Exception as exc: print(exc.as_result())\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(root / ".collections")},
    )  # fmt: skip
    assert done.stdout.startswith("[]\n")
    for part in ("pyrage", "1.2 or newer", "-m pip install 'pyrage>=1.2'", sys.executable):
        assert part in done.stdout


class Full:
    """A store whose disk takes so many bytes and no more."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, data: bytes) -> int:
        self.room -= len(data)
        if self.room < 0:
            raise SpaceError("Cannot write it: No space left on device")
        return len(data)


def write(where: Any, recipient: str, fail: bool = False) -> None:
    with _age.encrypting(where, [recipient]) as out:
        for _number in range(5):
            out.write(b"x" * CHUNK)
        if fail:
            raise ZeroDivisionError


@pytest.mark.parametrize("room", [0, 200, CHUNK, 3 * CHUNK, 5 * CHUNK])
def test_a_disk_that_is_full_is_said_wherever_it_happens(tmp_path: Path, room: int) -> None:
    key = age_key(tmp_path, "key")
    with pytest.raises(SpaceError, match="No space left"):
        write(Full(room), key.public)


def test_an_error_of_the_writer_is_not_replaced(tmp_path: Path) -> None:
    key = age_key(tmp_path, "key")
    with pytest.raises(ZeroDivisionError):
        write(io.BytesIO(), key.public, fail=True)


def test_a_reader_may_stop_in_the_middle(tmp_path: Path) -> None:
    key = age_key(tmp_path, "key")
    sealed = _age.encrypt_bytes(os.urandom(3_000_000), [key.public])
    with _age.decrypting(io.BytesIO(sealed), IdentitySource(str(key.file)).load(), "x") as plain:
        assert len(plain.read(10)) == 10


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 20 * CHUNK + 5])
def test_the_program_age_reads_what_was_written_and_the_other_way_round(tmp_path: Path, size: int) -> None:
    keys = [age_key(tmp_path, "one"), ssh_key(tmp_path, "ed", "ed25519"), ssh_key(tmp_path, "rsa", "rsa")]
    plain, file = os.urandom(size), tmp_path / "x.age"
    with open(file, "wb") as stream, _age.encrypting(stream, [key.public for key in keys]) as out:
        assert out.write(plain) == size
    for key in keys:
        assert decrypt(file, key.file) == plain
    with pytest.raises(subprocess.CalledProcessError):
        decrypt(file, age_key(tmp_path, "other").file)
    made = tmp_path / "made.age"
    subprocess.run(["age", "-r", keys[0].public, "-o", str(made)], input=plain, check=True)
    identities = IdentitySource(str(keys[0].file)).load()
    assert whole(made.read_bytes(), identities) == plain


def whole(sealed: bytes, identities: list[Any]) -> bytes:
    with _age.decrypting(io.BytesIO(sealed), identities, "x") as plain:
        parts = []
        while data := plain.read(CHUNK):
            parts.append(data)
    return b"".join(parts)


def test_a_cut_at_the_boundary_of_a_chunk_is_noticed(tmp_path: Path) -> None:
    key = age_key(tmp_path, "key")
    identities = IdentitySource(str(key.file)).load()
    sealed = _age.encrypt_bytes(os.urandom(3 * CHUNK), [key.public])
    header = sealed.index(b"\n--- ") + 1
    body = sealed.index(b"\n", header) + 1 + 16
    sizes = [body + number * (CHUNK + 16) for number in range(3)]
    assert whole(sealed, identities)
    for size in [*sizes, *(cut - 1 for cut in sizes), *(cut + 1 for cut in sizes), len(sealed) - 1]:
        with pytest.raises((IntegrityError, _age.WrongIdentityError)):
            whole(sealed[:size], identities)
    with pytest.raises(IntegrityError):
        whole(sealed + b"x", identities)
