# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets that are copied to the other place, and back: what that may do, by what docs/s3.md says of copies."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from tests.engine.model import Action, Expected, Known
from tests.engine.oracle import World
from tests.engine.place import Place

_ALL, _LATEST = "all", "latest"


def copy(world: World, rng: random.Random) -> Action | None:
    """Copy sets away, or those back that the store has not any more."""
    back = rng.random() < 0.4
    source, target = (world.there, world.here) if back else (world.here, world.there)
    missing = sorted(set(source.known) - set(target.known))
    ids = missing if missing and rng.random() < 0.8 else sorted(source.known)
    wanted = _ALL if rng.random() < 0.2 else _LATEST if not ids or rng.random() < 0.3 else rng.choice(ids)
    run: Callable[[], dict[str, Any]] = lambda: world.product.copy(source.store, target.store, [wanted])  # noqa: E731

    def expect() -> Expected:
        expected = Expected(there=not back)
        _expect(source, target, wanted, expected)
        return expected

    return Action("copy", "copy %s %s" % ("back" if back else "away", wanted), expect, run)


def _expect(source: Place, target: Place, wanted: str, expected: Expected) -> None:
    """Say of each set what comes of it: it is copied, is there already, or is named in the refusal."""
    chosen = _chosen(source, wanted)
    for set_id in chosen:
        if not source.usable(set_id):
            expected.named.append(set_id)
        elif set_id in target.known:
            expected.named += [] if target.usable(set_id) else [set_id]
        else:
            one = source.known[set_id]
            expected.opens = True
            written = target.busy or set_id + ".partial" in target.alive
            if written or _lost(source, target, one, expected):
                expected.named.append(set_id)
            else:
                expected.copies[set_id] = one
                expected.pins[set_id] = one.pinned
    expected.refused = bool(expected.named) or (wanted == _LATEST and not chosen)


def _chosen(source: Place, wanted: str) -> list[str]:
    """Return the sets that are meant, the oldest first; damaged ones too."""
    if wanted == _ALL:
        return sorted(source.known)
    if wanted == _LATEST:
        known = source.known.values()
        return sorted(one.set_id for one in known if not (one.backup.restore_id and source.complete(one)))[-1:]
    return [wanted]


def _lost(source: Place, target: Place, one: Known, expected: Expected) -> bool:
    """Tell whether a damaged file of a set has to be read: what an earlier set in the target shares with it has not."""
    damaged = {name for name, data in source.files(one.set_id).items() if data != one.stored[name]}
    for artifact in json.loads(one.stored["manifest.json"])["artifacts"]:
        path, origin = artifact["path"], artifact["linked_from"]
        earlier = expected.copies.get(origin) or target.known.get(origin)
        if path not in damaged or earlier is None or earlier.stored.get(path) != one.stored[path]:
            continue
        there = target.files(origin) if origin in target.known else earlier.stored
        if (origin in expected.copies or target.complete(earlier)) and there.get(path) == one.stored[path]:
            damaged.discard(path)
    return bool(damaged)
