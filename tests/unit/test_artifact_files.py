# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Artifacts as files: written whole or not at all, read to their end."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    IntegrityError,
    SpaceError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import DirectorySink, DirectorySource


def test_a_full_store_is_a_space_error_and_leaves_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    sink = DirectorySink(str(tmp_path / "store"))
    # Python ignores SIGXFSZ: the write fails, as it does where the disk is full.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100000, before[1]))
    try:
        with pytest.raises(SpaceError, match=r"authentik\.dump") as caught, sink.artifact("pg/authentik.dump") as out:
            out.write(b"x" * 200000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "df -h" in str(caught.value)
    assert os.listdir(tmp_path / "store" / "pg") == []


def test_a_writer_that_was_killed_is_cleared_by_the_next_of_that_name(tmp_path: Path) -> None:
    abandoned = tmp_path / "pg" / ".a.dump.abcd.partial"
    abandoned.parent.mkdir()
    abandoned.write_bytes(b"half")
    sink = DirectorySink(str(tmp_path))
    with sink.artifact("pg/a.dump") as out:
        living = [name for name in os.listdir(tmp_path / "pg") if name != abandoned.name]
        assert not abandoned.exists()
        out.write(b"one")
        with sink.artifact("pg/a.dump") as second:
            second.write(b"two")
        assert living[0] in os.listdir(tmp_path / "pg")
    assert (tmp_path / "pg" / "a.dump").read_bytes() == b"one"
    assert os.listdir(tmp_path / "pg") == ["a.dump"]


def test_a_source_reads_to_the_end_even_when_its_reader_does_not(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"x" * 99 + b"!")
    record = {"path": "a/b", "size": 100, "sha256": "5" * 64}
    with (
        pytest.raises(IntegrityError, match=r"5{64} was recorded"),
        DirectorySource(str(tmp_path), [record]).artifact("a/b") as inp,
    ):
        assert inp.read(10) == b"x" * 10
    with (
        pytest.raises(InputError, match="holds no artifact a/c"),
        DirectorySource(str(tmp_path), [record]).artifact("a/c"),
    ):
        pass


def test_a_source_follows_no_trick(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    os.mkfifo(tmp_path / "a" / "b")
    (tmp_path / "a" / "c").mkdir()
    for name in ("a/b", "a/c"):
        record = {"path": name, "size": 0, "sha256": "0" * 64}
        with pytest.raises((IntegrityError, InputError)), DirectorySource(str(tmp_path), [record]).artifact(name):
            pass
