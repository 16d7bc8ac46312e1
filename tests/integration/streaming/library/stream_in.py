# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A consumer for tests: reads artifacts in any order, in whole or in part, and says what it saw."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from typing import Any

from ansible_collections.authentik_ops.recovery.plugins.module_utils._module import CONSUMER_SPEC, run_module


def body(ctx: Any) -> dict[str, Any]:
    """Read what the reads say: {path, limit (bytes, then leave by an exception), pause}."""
    seen = []
    sizes: list[list[int]] = []
    if ctx.params["step"] not in ("check", "prepare"):
        said = ["größer ✓"]
        return {"changed": True, "manifest_id": ctx.manifest()["id"], "spool": ctx.params["spool"], "warnings": said}
    source = ctx.source()
    for read in ctx.params["reads"]:
        own, size = hashlib.sha256(), 0
        try:
            with source.artifact(read["path"]) as inp:
                while True:
                    data = inp.read(100000)
                    if not data:
                        break
                    own.update(data)
                    size += len(data)
                    time.sleep(read.get("pause", 0))
                    sizes.append(sizes_of_chunks(ctx.params["spool"]))
                    if read.get("limit") and size >= read["limit"]:
                        raise KeyError("enough")
        except KeyError:
            pass
        seen.append({"path": read["path"], "size": size, "sha256": own.hexdigest()})
    spooled = {"most": max(map(len, sizes), default=0), "largest": max(map(max, filter(None, sizes)), default=0)}
    return {"changed": False, "seen": seen, "has": source.has("postgresql/none.dump"), "spooled": spooled}


def sizes_of_chunks(spool: dict[str, Any] | None) -> list[int]:
    """Return the sizes of the chunks that lie in the spool."""
    found: list[int] = []
    if spool is None:
        return found
    for name in os.listdir(spool["path"]):
        if name.startswith("feed-"):
            # The controller removes those that nobody reads any more.
            with contextlib.suppress(FileNotFoundError):
                found.append(os.stat(os.path.join(spool["path"], name)).st_size)
    return found


if __name__ == "__main__":
    run_module(
        dict(CONSUMER_SPEC, step={"type": "str", "default": "check"}, reads={"type": "list", "elements": "dict"}), body
    )
