# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A producer for tests: artifacts of any size, and every way to fail."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import time
from typing import Any

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import ToolError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._module import PRODUCER_SPEC, run_module


def body(ctx: Any) -> dict[str, Any]:
    """Write each part, and fail where it is told to."""
    if ctx.check_mode:
        return {"changed": True, "components": [], "streamed": False}
    sink = ctx.sink()
    records = []
    for part in ctx.params["parts"]:
        block = random.Random(part["seed"]).getrandbits(8 * 1048576).to_bytes(1048576, "big")
        if part["seed"] == 0:
            block = bytes(1048576)
        if part.get("discard_first"):
            try:
                with sink.artifact(part["path"]) as out:
                    out.write(block)
                    raise KeyError("again")
            except KeyError:
                pass
        own = hashlib.sha256()
        with sink.artifact(part["path"]) as out:
            done = 0
            while done < part["size"]:
                data = block[: part["size"] - done]
                out.write(data)
                own.update(data)
                done += len(data)
                time.sleep(part.get("pause", 0))
                if part.get("fail_at") is not None and done >= part["fail_at"]:
                    if part["how"] == "kill":
                        os.kill(os.getpid(), signal.SIGKILL)
                    raise ToolError("the program failed on purpose", "nothing is wrong")
        record = {"component": part["component"], "warnings": [], "fingerprint": {"whole": "big" * 1000}}
        record["artifacts"] = [
            {
                "path": part["path"],
                "compression": "none",
                "tool": "test 1",
                "size": done,
                "sha256": part.get("lie") or own.hexdigest(),
            }
        ]
        records.append(record)
    return {"changed": True, "components": records, "uid": os.geteuid(), "spool": ctx.params["spool"]}


if __name__ == "__main__":
    run_module(dict(PRODUCER_SPEC, parts={"type": "list", "elements": "dict", "required": True}), body)
