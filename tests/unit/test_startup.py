# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tests keep compiled must never be other code than what was sent."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.playbook import ROOT

SHOW = "import sys; sys.path.insert(0, sys.argv[1]); import sent; print(sent.VALUE, sent.__file__)"


def run(archive: Path, source: str, compiled: Path) -> str:
    """Send a source in a zip file and return what it is when it is imported."""
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("sent.py", source)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "tests/support/startup"),
        "RECOVERY_TEST_COMPILED": str(compiled),
    }
    argv = [sys.executable, "-c", SHOW, str(archive)]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    value, file = done.stdout.split()
    assert file == "%s/sent.py" % archive
    return value


def test_a_source_is_compiled_once_and_another_is_another(tmp_path: Path) -> None:
    compiled = tmp_path / "compiled"
    compiled.mkdir()
    assert run(tmp_path / "a.zip", "VALUE = 'one'", compiled) == "one"
    (first,) = compiled.iterdir()
    kept = first.stat().st_mtime_ns
    assert run(tmp_path / "b.zip", "VALUE = 'one'", compiled) == "one"
    assert [path.stat().st_mtime_ns for path in compiled.iterdir()] == [kept]
    assert run(tmp_path / "a.zip", "VALUE = 'two'", compiled) == "two"
    (second,) = set(compiled.iterdir()) - {first}
    # It is this that is run.
    first.write_bytes(second.read_bytes())
    assert run(tmp_path / "a.zip", "VALUE = 'one'", compiled) == "two"


@pytest.mark.parametrize("content", [b"", b"\0", b"no code", None])
def test_what_cannot_be_read_or_written_is_compiled(tmp_path: Path, content: bytes | None) -> None:
    compiled = tmp_path / "compiled"
    compiled.mkdir()
    assert run(tmp_path / "a.zip", "VALUE = 'one'", compiled) == "one"
    for path in compiled.iterdir():
        if content is None:
            path.unlink()
            path.mkdir()
        else:
            path.write_bytes(content)
    assert run(tmp_path / "a.zip", "VALUE = 'one'", compiled) == "one"
