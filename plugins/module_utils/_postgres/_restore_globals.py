# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The artifact of roles and their settings. A restore does not load it, but whoever sets up a new server needs it.

So it is proved with the rest of the set: damage is to be known while another set can still be made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _process
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError, ToolError

if TYPE_CHECKING:
    from typing import Any, Mapping

#: The last words of pg_dumpall.
END = b"-- PostgreSQL database cluster dump complete"

_BLOCK = 256 * 1024
_TAIL = 1000
_HINT = "use another backup set; `list` shows them"


def check(manifest: Mapping[str, Any], source: Any) -> None:
    """Read the artifact to its end, decode it and look for its last line.

    Where the host has no program to decompress it, which a restore does not need, its checksum is all that is compared.

    :param source: ``source.artifact(path)`` is a context manager that gives a reader.
    :raises IntegrityError: when it is not what was recorded, or not whole.
    """
    record = manifest["components"]["postgresql"].get("globals")
    if record is None:
        return
    path = record["artifact"]
    parts = []
    with source.artifact(path) as reader:
        while True:
            data = reader.read(_BLOCK)
            if not data:
                break
            parts.append(data)
    content = b"".join(parts)
    if path.endswith(".zst"):
        zstd = _process.find_program("zstd")
        if zstd is None:
            return
        try:
            content = _process.run([zstd, "-d", "-q", "-c"], stdin=content).stdout
        except ToolError as exc:
            raise IntegrityError("%s cannot be decompressed: %s" % (path, exc.cause), hint=_HINT) from exc
    if END not in content[-_TAIL:]:
        raise IntegrityError("%s does not end as pg_dumpall ends what it writes" % path, hint=_HINT)
