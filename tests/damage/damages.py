# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can happen to a file: one byte becomes another one, or its end is missing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

#: Both ends of a file hold what makes it readable; they are hit more often than their share.
_ENDS = 64


@dataclass(frozen=True)
class Damage:
    """One damage.

    :param path: of the file, relative to the set's folder.
    :param offset: of the byte that is altered, or where the file ends from then on.
    :param mask: the bits of that byte which are flipped; 0 cuts the file off.
    """

    path: str
    offset: int
    mask: int

    def __str__(self) -> str:
        if self.mask:
            return "%s: byte %d altered by %#04x" % (self.path, self.offset, self.mask)
        return "%s: cut off at byte %d" % (self.path, self.offset)

    def of(self, content: bytes) -> bytes:
        """Return what becomes of a file's content."""
        if not self.mask:
            return content[: self.offset]
        return content[: self.offset] + bytes([content[self.offset] ^ self.mask]) + content[self.offset + 1 :]


def draw(sizes: Mapping[str, int], random: Random, flips: int, cuts: int) -> list[Damage]:
    """Draw damages, as many to each file, however small it is.

    :param sizes: bytes of each file, by its path.
    """
    paths = sorted(path for path, size in sizes.items() if size)
    drawn = []
    for number in range(flips + cuts):
        path = paths[number % len(paths)]
        offset = _place(sizes[path], random)
        mask = random.choice([1 << random.randrange(8), random.randrange(1, 256)])
        drawn.append(Damage(path, offset, mask if number < flips else 0))
    return drawn


def _place(size: int, random: Random) -> int:
    where = random.randrange(8)
    if where == 0:
        return random.randrange(min(size, _ENDS))
    if where == 1:
        return size - 1 - random.randrange(min(size, _ENDS))
    return random.randrange(size)


@contextlib.contextmanager
def done_to(folder: Path, damage: Damage) -> Iterator[None]:
    """Damage a file of a set while the context lasts."""
    path = folder / damage.path
    content = path.read_bytes()
    _write(path, damage.of(content))
    try:
        yield
    finally:
        _write(path, content)


def _write(path: Path, content: bytes) -> None:
    os.chmod(path, 0o600)
    path.write_bytes(content)
