# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The README's commands for a restore by hand, run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.demo import oracle
from tests.demo.instance import SECRET_KEY
from tests.support import oracle as database_oracle
from tests.support.age import age_key, program
from tests.support.playbook import ROOT
from tests.support.redis import RedisServer, wheel_directory
from tests.support.site import NAME, Site


def commands() -> str:
    """Return the shell commands between the README's two marks."""
    text = (ROOT / "README.md").read_text()
    (block,) = re.findall(r"<!-- by hand: begin.*?-->\n```sh\n(.*?)```\n<!-- by hand: end -->", text, re.S)
    return str(block)


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_the_commands_of_the_readme_restore_a_set(site: Site, tmp_path: Path, encrypted: bool) -> None:
    site.reset()
    before = site.instance.picture()
    keys = [age_key(tmp_path, "one"), age_key(tmp_path, "two")] if encrypted else []
    if encrypted:
        program("age")
    run = site.run("backup", encryption_recipients=[key.public for key in keys])
    assert run.ok, run.output
    (made,) = site.sets()
    site.instance.disaster()

    config, redis = tmp_path / "config", tmp_path / "redis"
    redis.mkdir()
    server = RedisServer(directory=redis)
    environment = dict(
        site.instance.postgres.environment(),
        PATH="%s:%s:%s" % (site.instance.postgres.bin, wheel_directory(), os.environ["PATH"]),
        STORE=str(site.store), INSTANCE=NAME, ID=made.name, MEDIA=str(site.instance.folders[0]), CONFIG=str(config),
        REDIS_DIR=str(redis), REDIS_PORT=str(server.port),
        IDENTITY=str(keys[1].file) if keys else "", PLAIN=str(tmp_path / "plain"),
    )  # fmt: skip
    done = subprocess.run(
        ["sh", "-eu", "-c", commands()], env=environment, cwd="/", capture_output=True, text=True, check=False
    )
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        assert (
            database_oracle.differences(before.database, database_oracle.take(site.instance.postgres, "authentik"))
            == []
        )
        assert oracle.different(before.files, oracle.read_files(site.instance.folders)) == []
        assert (config / str(site.instance.root)[1:] / "etc/authentik/secret_key").read_text() == SECRET_KEY
        assert redis_keys(server.port) == len(before.keys)
        assert (tmp_path / "plain").exists() == encrypted
    finally:
        subprocess.run(
            [str(wheel_directory() / "redis-cli"), "-p", str(server.port), "SHUTDOWN", "NOSAVE"], check=False
        )


def redis_keys(port: int) -> int:
    """Return the number of keys in all databases, waiting for the server to have loaded them."""
    argv = [str(wheel_directory() / "redis-cli"), "-p", str(port), "INFO", "keyspace"]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        said = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
        found = re.findall(r"keys=(\d+)", said)
        if found:
            return sum(map(int, found))
        time.sleep(0.2)
    return 0
