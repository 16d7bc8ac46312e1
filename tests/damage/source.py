# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Damage that was there when the checksum was taken: a source that delivered it, a memory that altered it.

Size and SHA-256 in the manifest fit the damaged artifact then. What is left to find it is the decoding and the
fingerprint, and some bytes carry nothing: a flag that no reader looks at, a time in a header.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.damage.damages import Damage, done_to

_DECODERS = {".zst": ["zstd", "-dcq"], ".gz": ["gzip", "-dcq"]}


@contextlib.contextmanager
def written_with(folder: Path, damage: Damage) -> Iterator[None]:
    """Damage an artifact while the context lasts, and let manifest and SHA256SUMS say that it was always so."""
    names = ("manifest.json", "SHA256SUMS")
    before = {name: (folder / name).read_bytes() for name in names}
    with done_to(folder, damage):
        content = (folder / damage.path).read_bytes()
        manifest = json.loads(before["manifest.json"])
        for artifact in manifest["artifacts"]:
            if artifact["path"] == damage.path:
                digest = hashlib.sha256(content).hexdigest()
                artifact.update(size=len(content), plain_size=len(content), sha256=digest, plain_sha256=digest)
        text = json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n"
        lines = ["%s  manifest.json\n" % hashlib.sha256(text).hexdigest()]
        entries = [manifest["instructions"], *manifest["artifacts"]]
        lines += ["%s  %s\n" % (entry["sha256"], entry["path"]) for entry in entries]
        for name, data in zip(names, (text, "".join(lines).encode()), strict=True):
            (folder / name).chmod(0o600)
            (folder / name).write_bytes(data)
        try:
            yield
        finally:
            for name, data in before.items():
                (folder / name).write_bytes(data)


def carries_nothing(whole: Path, damage: Damage) -> bool:
    """Say whether the damaged artifact decodes to the very bytes that the whole one does, by its own program."""
    content = whole.read_bytes()
    decoder = _DECODERS.get(whole.suffix)
    if decoder is None:
        return False
    plain, altered = (
        subprocess.run(decoder, input=data, capture_output=True, check=False) for data in (content, damage.of(content))
    )
    return altered.returncode == 0 and plain.stdout == altered.stdout
