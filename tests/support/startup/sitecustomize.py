# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every Python does first that a test's controller starts.

It keeps what it compiles from a zip file.
Ansible sends modules as zip files, from which Python keeps nothing: half of a module's processor time is compiling the
same sources again. ``RECOVERY_TEST_COMPILED`` names the folder; code is found in it by its source.

Where libfaketime sets the clock of the day back, it sleeps for a span of time and not until a moment: a moment of the
clock that goes on steadily is one that libfaketime refuses.
"""

from __future__ import annotations

import _frozen_importlib_external
import _imp
import contextlib
import marshal
import os
import select
import time
import zipimport
from typing import Any

_FOLDER = os.environ.get("RECOVERY_TEST_COMPILED", "")
_VERSION = int.from_bytes(_frozen_importlib_external.MAGIC_NUMBER, "little")
_compile_source: Any = vars(zipimport).get("_compile_source")


def _compile(pathname: str, source: bytes) -> Any:
    path = os.path.join(_FOLDER, "%x-%s" % (_VERSION, _imp.source_hash(_VERSION, source).hex()))
    with contextlib.suppress(OSError, ValueError, EOFError, TypeError), open(path, "rb") as stream:
        return marshal.loads(stream.read())
    code = _compile_source(pathname, source)
    own = "%s.%d" % (path, os.getpid())
    try:
        with open(own, "wb") as stream:
            stream.write(marshal.dumps(code))
        os.replace(own, path)
    except OSError:
        # No room, or somebody else's folder: it is compiled again next time.
        with contextlib.suppress(OSError):
            os.unlink(own)
    return code


def _sleep(seconds: Any) -> None:
    select.select([], [], [], seconds)


if "FAKETIME" in os.environ:
    time.sleep = _sleep

if _compile_source and os.path.isdir(_FOLDER):
    vars(zipimport)["_compile_source"] = _compile
