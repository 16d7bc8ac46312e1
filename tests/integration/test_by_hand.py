# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands for a restore by hand, of the README and of RESTORE.md in a set, run as they stand there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.demo import oracle
from tests.demo.instance import SECRET_KEY, Picture
from tests.support import by_hand
from tests.support import oracle as database_oracle
from tests.support.age import Key, age_key, program
from tests.support.postgres_server import Server
from tests.support.site import NAME, Site


class Made(NamedTuple):
    """A set, the keys that it is encrypted to, and what the instance held when it was made."""

    folder: Path
    keys: list[Key]
    before: Picture


@pytest.fixture(scope="module", params=["plain", "encrypted"])
def made(request: pytest.FixtureRequest, site: Site, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A set of the instance, whose database, files and keys are lost then."""
    folder = tmp_path_factory.mktemp("keys")
    site.reset()
    keys = []
    if request.param == "encrypted":
        program("age")
        keys = [age_key(folder, "one"), age_key(folder, "two")]
    before = site.instance.picture()
    run = site.run("backup", encryption_recipients=[key.public for key in keys])
    assert run.ok, run.output
    (found,) = site.sets()
    site.instance.disaster()
    return Made(found, keys, before)


def assert_database(before: Picture, server: Server) -> None:
    assert database_oracle.differences(before.database, database_oracle.take(server, "authentik")) == []


def test_the_commands_of_the_readme_restore_a_set(site: Site, made: Made, tmp_path: Path) -> None:
    config, media = tmp_path / "config", site.instance.folders[0]
    with by_hand.redis_to_be(tmp_path / "redis") as redis:
        by_hand.run(
            ["sh", "-eu", "-c", by_hand.of_the_readme()], Path("/"), site.instance.postgres,
            STORE=str(site.store), INSTANCE=NAME, ID=made.folder.name, MEDIA=str(media), CONFIG=str(config),
            REDIS_DIR=str(redis.directory), REDIS_PORT=str(redis.port),
            IDENTITY=str(made.keys[1].file) if made.keys else "", PLAIN=str(tmp_path / "plain"),
        )  # fmt: skip
        assert by_hand.redis_keys(redis.port) == len(made.before.keys)
    assert_database(made.before, site.instance.postgres)
    assert oracle.different(made.before.files, oracle.read_files(site.instance.folders)) == []
    assert (config / str(site.instance.root)[1:] / "etc/authentik/secret_key").read_text() == SECRET_KEY
    assert (tmp_path / "plain").exists() == bool(made.keys)


class Hand:
    """Somebody who follows RESTORE.md."""

    def __init__(self, made: Made, folder: Path) -> None:
        self._made = made
        self.folder = folder
        folder.mkdir()

    def restore(self, server: Server, root: Path | None) -> list[str]:
        """Run all commands, and return the services that were stopped and started, in that order.

        :param root: where the paths of the host begin; None for where they were.
        """
        log, keys = self.folder / "log", self._made.keys
        with by_hand.redis_to_be(self.folder / "redis") as redis:
            said = "(sh -c 'echo %s >> " + str(log) + "')"
            start = "redis-server --port %d --dir %s --dbfilename dump.rdb --daemonize yes"
            settings = {
                "WORK": str(self.folder / "work"), "ROOT": str(root or ""), "PG": "()", "STOP": said % "stop",
                "START_SERVER": said % "server", "START_WORKER": said % "worker", "STOP_REDIS": "(true)",
                "REDIS_DIR": str(redis.directory), "START_REDIS": "(%s)" % (start % (redis.port, redis.directory)),
                **({"IDENTITY": str(keys[0].file)} if keys else {}),
            }  # fmt: skip
            script = self.folder / "script"
            script.write_text(by_hand.of_the_set(self._made.folder, settings))
            by_hand.run(["bash", str(script)], self._made.folder, server)
            assert by_hand.redis_keys(redis.port) == len(self._made.before.keys)
        return log.read_text().split()


@pytest.fixture
def elsewhere() -> Iterator[Server]:
    """A server that has nothing of the instance, not even its role."""
    with Server(18) as server:
        yield server


def test_restore_md_restores_its_set_on_another_machine(
    made: Made, elsewhere: Server, site: Site, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    assert Hand(made, tmp_path / "hand").restore(elsewhere, root) == ["stop", "server", "worker"]
    assert_database(made.before, elsewhere)
    folders = [root / str(folder)[1:] for folder in site.instance.folders]
    found = {path[len(str(root)) :]: said for path, said in oracle.read_files(folders).items()}
    assert oracle.different(made.before.files, found) == []
    for name in ("config.yml", "secret_key", "postgresql_password"):
        there = site.instance.root / "etc/authentik" / name
        copy = root / str(there)[1:]
        assert (copy.read_bytes(), copy.stat().st_mode) == (there.read_bytes(), there.stat().st_mode)


def test_restore_md_keeps_what_was_there(made: Made, site: Site, tmp_path: Path) -> None:
    """Over an instance that has a database, directories and a configuration: none of it is lost."""
    instance, suffix = site.instance, made.folder.name
    instance.postgres.psql("DROP DATABASE IF EXISTS authentik WITH (FORCE)")
    instance.postgres.psql("CREATE DATABASE authentik OWNER authentik")
    instance.postgres.psql("CREATE TABLE found (x int)", database="authentik")
    media = instance.folders[0]
    os.makedirs(media, exist_ok=True)
    (media / "found").write_text("here before")
    (instance.root / "etc/authentik/secret_key").unlink()
    config = instance.root / "etc/authentik/config.yml"
    config.write_text(config.read_text() + "# changed here\n")
    Hand(made, tmp_path / "hand").restore(instance.postgres, None)
    assert_database(made.before, instance.postgres)
    assert oracle.different(made.before.files, oracle.read_files(instance.folders)) == []
    assert (instance.root / "etc/authentik/secret_key").read_text() == SECRET_KEY
    assert config.read_text().endswith("# changed here\n")
    assert Path("%s.before-%s" % (media, suffix), "found").read_text() == "here before"
    kept = "authentik_before_%s" % suffix.lower().replace("-", "_")
    assert instance.postgres.psql("SELECT * FROM found", database=kept) == ""
