# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kinds of damaged encrypted sets: what is noticed of them without an identity, and what with one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyrage

from tests.damage.corpus import INVALID, LIST, MEDIA, OPEN, READ, Kind, cut, flipped, pipe, tell, text


def sealed_anew(folder: Path) -> None:
    """The manifest is altered, SHA256SUMS tells so, and the seal is that of another text."""
    retell_stored(folder, lambda manifest: manifest.update(finished="2030-01-01T00:00:00Z"))


def retell_stored(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest of an encrypted set, and let SHA256SUMS say what lies there."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for artifact in manifest["artifacts"]:
        data = (folder / artifact["path"]).read_bytes()
        artifact.update(size=len(data), sha256=hashlib.sha256(data).hexdigest())
    change(manifest)
    tell(folder, json.dumps(manifest).encode())


def seal(data: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Change the seal, and tell its checksum."""

    def make(folder: Path) -> None:
        path = folder / "manifest.sha256.age"
        path.write_bytes(data(path.read_bytes()))
        tell(folder, (folder / "manifest.json").read_bytes())

    return make


def encrypted_to(recipient: str) -> Callable[[bytes], bytes]:
    """Put something else in place, encrypted to a key."""
    return lambda _data: pyrage.encrypt(b"0" * 64 + b"  manifest.json\n", [pyrage.x25519.Recipient.from_str(recipient)])


def encrypted(mine: str, nobodys: str) -> dict[str, Kind]:
    """Return the kinds of an encrypted set.

    :param mine: the key that it is encrypted to.
    :param nobodys: another one.
    """
    _seal = "manifest.sha256.age"
    return {
        "no seal": Kind(text(_seal, lambda _data: None), LIST, "no manifest.sha256.age in"),
        "seal altered": Kind(text(_seal, flipped(0.9)), LIST, "manifest.sha256.age has not the SHA-256"),
        "seal is a pipe": Kind(pipe(_seal), LIST, "manifest.sha256.age is not a regular file"),
        "seal altered, and told": Kind(seal(flipped(0.99)), OPEN, "manifest.sha256.age"),
        "seal cut, and told": Kind(seal(cut), OPEN, "manifest.sha256.age"),
        "seal of another manifest": Kind(seal(encrypted_to(mine)), OPEN, "manifest.json is not the one that was"),
        "seal to another key": Kind(seal(encrypted_to(nobodys)), OPEN, "none of the identities"),
        "manifest altered, and told": Kind(sealed_anew, OPEN, "manifest.json is not the one that was sealed"),
        "artifact altered": Kind(text(MEDIA, flipped(0.5)), READ, "media.tar.*age has SHA-256"),
        "artifact cut": Kind(text(MEDIA, cut), LIST, "media.tar.*age holds"),
        "artifact in plain": Kind(
            lambda folder: retell_stored(
                folder, lambda manifest: manifest["artifacts"][0].update(encryption="none", recipients=None)
            ),
            LIST, INVALID + "its artifacts are not all encrypted",
        ),
    }  # fmt: skip
