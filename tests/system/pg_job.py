# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A program to be killed: it dumps, restores or queries a database in a container, as the modules do.

What it is to do comes as JSON in its argument. Where ``gate`` names a file that is not there it makes
``gate + ".reached"`` after some bytes of an artifact, and waits for the file.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _files
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import (
    Container,
    PostgresSettings,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import RecoveryError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import (
    _client,
    _dump,
    _restore,
    _restore_set,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_admin import Request

if TYPE_CHECKING:
    from collections.abc import Iterator

# Beyond what pipes hold; a restore has read its table of contents by then.
GATE_BYTES = {"dump": 1_000_000, "prepare": 10_000_000}


class Gated:
    """A writer or reader that waits at the gate when it has some bytes behind it."""

    def __init__(self, real: Any, gate: str, at: int) -> None:
        self._real = real
        self._gate = gate
        self._at = at
        self._passed = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def write(self, data: bytes) -> Any:
        self._wait(len(data))
        return self._real.write(data)

    def read(self, size: int) -> Any:
        data = self._real.read(size)
        self._wait(len(data))
        return data

    def _wait(self, size: int) -> None:
        before, self._passed = self._passed, self._passed + size
        if before < self._at <= self._passed:
            with open(self._gate + ".reached", "w"):
                pass
            parent = os.getppid()
            while not os.path.exists(self._gate):
                if os.getppid() != parent:
                    sys.exit("the test that started this has ended")
                time.sleep(0.05)


class GatedStore:
    """A sink or source whose artifacts wait at the gate."""

    def __init__(self, real: Any, gate: str, at: int) -> None:
        self._real = real
        self._gate = gate
        self._at = at

    @contextlib.contextmanager
    def artifact(self, path: str) -> Iterator[Any]:
        with self._real.artifact(path) as real:
            yield Gated(real, self._gate, self._at) if self._gate else real


def work(job: dict[str, Any]) -> None:
    container = Container(tuple(job["docker"]), job["id"], job["name"])
    settings = PostgresSettings("", 5432, "authentik", "authentik", container=container)
    if job["what"] == "query":
        with _client.connect(settings) as session:
            session.rows(job["sql"])
    elif job["what"] == "dump":
        options = _dump.Options()
        sink = GatedStore(_files.DirectorySink(job["folder"]), job["gate"], GATE_BYTES["dump"])
        _dump.dump(settings, _dump.make_plan(settings, options), options, sink)
    else:
        with open(os.path.join(job["folder"], "manifest.json"), encoding="utf-8") as stream:
            manifest = json.load(stream)
        databases = _restore_set.databases_of(manifest, [], "authentik", "authentik")
        source = GatedStore(
            _files.DirectorySource(job["folder"], manifest["artifacts"]), job["gate"], GATE_BYTES["prepare"]
        )
        _restore.prepare(Request(settings, job["restore_id"]), databases, source)


if __name__ == "__main__":
    try:
        work(json.loads(sys.argv[1]))
    except RecoveryError as error:
        sys.exit("%s: %s" % (type(error).__name__, error))
