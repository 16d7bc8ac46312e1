# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the engine knows of the stores because it did it."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable
from typing import Any, NamedTuple

LEVELS = ("checksums", "decode")
PASSED, FAILED, UNPROVED = "passed", "failed", "unproved"


@dataclasses.dataclass
class Backup:
    """What is put into one set.

    :ivar artifacts: of each component, by the names they have on the host.
    :ivar digests: of the components that are directories: equal ones are not sent again.
    :ivar counts: of each component what should not shrink: rows of tables, files.
    :ivar fails: the host fails before the end.
    """

    artifacts: dict[str, dict[str, bytes]]
    digests: dict[str, str]
    fingerprints: dict[str, dict[str, Any]]
    counts: dict[str, dict[str, int]]
    encrypted: bool = False
    restore_id: str = ""
    fails: bool = False
    started: datetime.datetime | None = None

    def content(self) -> dict[str, bytes]:
        """Return all artifacts."""
        return {path: data for artifacts in self.artifacts.values() for path, data in artifacts.items()}


@dataclasses.dataclass(frozen=True)
class Checks:
    """The outcomes of verification, as docs/store-format.md tells them: per level what stands."""

    standing: frozenset[tuple[str, str]] = frozenset()

    def after(self, level: str, outcome: str) -> Checks:
        """Return what stands after one more verification."""
        below = LEVELS[: LEVELS.index(level)]
        left = set(self.standing)
        if outcome == PASSED:
            left -= {(one, what) for one in (*below, level) for what in (FAILED, UNPROVED)}
        elif outcome == FAILED:
            left -= {(level, PASSED), *((one, UNPROVED) for one in (*below, level))}
        return Checks(frozenset(left | {(level, outcome)}))

    @property
    def failed(self) -> bool:
        """Whether damage was found that nothing disproved since."""
        return any(outcome == FAILED for _level, outcome in self.standing)

    @property
    def verified(self) -> bool:
        """Whether it was proved, and nothing speaks against it."""
        return bool(self.standing) and all(outcome == PASSED for _level, outcome in self.standing)


PUBLISHED = Checks().after("checksums", PASSED)


@dataclasses.dataclass
class Known:
    """A set that was published.

    :ivar stored: all its files as they were then.
    :ivar touched: those that the engine damaged since.
    """

    set_id: str
    backup: Backup
    started: datetime.datetime
    stored: dict[str, bytes]
    checks: Checks
    pinned: str = ""
    touched: set[str] = dataclasses.field(default_factory=set)

    @property
    def components(self) -> frozenset[str]:
        """What it holds."""
        return frozenset(self.backup.artifacts)


@dataclasses.dataclass
class Expected:
    """What an action may do.

    :ivar going: the sets that it may delete, the oldest first.
    :ivar coming: what it may publish.
    :ivar copies: the sets of the other store that it may copy.
    :ivar checks: what may stand of the sets that it verifies, besides what stood before.
    :ivar pins: what may be the pin of a set besides the present one.
    :ivar accepted: the id of the set up to which losses may be accepted.
    :ivar refused: the only right answer is a refusal.
    :ivar named: what the refusal has to name.
    :ivar opens: it clears what dead runs left unfinished.
    :ivar there: it does all this to the other place.
    """

    going: list[str] = dataclasses.field(default_factory=list)
    coming: Backup | None = None
    copies: dict[str, Known] = dataclasses.field(default_factory=dict)
    checks: dict[str, Checks] = dataclasses.field(default_factory=dict)
    pins: dict[str, str] = dataclasses.field(default_factory=dict)
    accepted: str = ""
    refused: bool = False
    named: list[str] = dataclasses.field(default_factory=list)
    opens: bool = False
    there: bool = False


class Action(NamedTuple):
    """One that was chosen.

    :ivar told: what it is, in a line of the history.
    :ivar expect: what it may do, as the world is when it begins.
    :ivar run: does it; nothing in a process that plays itself.
    :ivar prunes: it clears what prunes left.
    """

    name: str
    told: str
    expect: Callable[[], Expected]
    run: Callable[[], dict[str, Any]]
    prunes: bool = False
