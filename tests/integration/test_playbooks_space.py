# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A disk that holds each new copy and not all of them: refused before anything is touched."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.integration.static_inside import mounted
from tests.support.announce import leave_out
from tests.support.site import Site, differences, shown


@pytest.fixture(scope="module", autouse=True)
def small_disks() -> None:
    # Before any server is started.
    if os.geteuid() != 0:
        leave_out("mounting a file system needs root")


def test_what_fits_alone_and_not_together_is_refused(small_disks: None, site: Site, tmp_path: Path) -> None:
    site.saves_first = True
    (site.instance.folders[0] / "large").write_bytes(os.urandom(6 << 20))
    site.instance.redis.send("SET", "large", "x" * (3 << 20))
    chosen: dict[str, Any] = {"components": ["media", "redis"]}
    run = site.run("backup", **chosen)
    assert run.ok, run.output
    old = site.instance.picture()
    with mounted(tmp_path / "disk", "size=14m") as disk:
        # Nearly 7 MiB for the directory, and 3 MiB for Redis.
        places: dict[str, Any] = {"restore_paths": {"media": str(disk / "media")}, "work_dir": str(disk / "work")}
        (disk / "room").write_bytes(bytes(6 << 20))
        run = site.run("restore", **chosen, **places)
        assert not run.ok
        assert "space: the file system of %s has 8.0 MiB free, for: " % disk in shown(run)
        for text in (
            "The file system of %s has 8.0 MiB free" % disk,
            "the new copy of media about",
            "Redis, as it is",
        ):
            assert text in run.message, run.output
        assert "authentik_work_dir" in run.message, run.output
        assert "authentik_restore_mode=in_place" in run.message, run.output
        assert [path.name for path in disk.iterdir()] == ["room"]
    assert differences(old, site.instance.picture()) == []
    assert len(site.sets()) == 1
