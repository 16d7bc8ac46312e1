# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An instance with its servers, controller and store that is put back to its beginning within a second.

The live instance is ``old``; the one set in the store is ``new``. A restore makes the one the other.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Union

from tests.demo import oracle as files_oracle
from tests.demo.instance import Instance, Picture
from tests.faults.harness.disks import Disks
from tests.faults.harness.relay import Relay
from tests.support import oracle as database_oracle
from tests.support.redis import RedisServer
from tests.support.site import NAME, Site, leave

#: So many that the dump is several chunks long.
EVENTS = 400
#: How the names of the databases begin that only the harness knows of.
KEPT = "zz_kept_"
_Key = tuple[Union[str, bytes, int], ...]


@dataclass
class State:
    """All that an instance holds, its configuration included."""

    picture: Picture
    configuration: dict[str, str]

    def differences(self, other: State) -> list[str]:
        """Return what is not the same in both, in words."""
        names = files_oracle.different(self.picture.files, other.picture.files)
        names += files_oracle.different(self.configuration, other.configuration)
        keys = self.picture.keys | other.picture.keys
        return [
            *database_oracle.differences(self.picture.database, other.picture.database),
            *["%s: %s / %s" % (name, _of(self, name), _of(other, name)) for name in names],
            *["Redis %r" % (key,) for key in keys if not self._same_key(other, key)],
        ]

    def _same_key(self, other: State, key: tuple[int, bytes]) -> bool:
        here, there = self.picture.keys.get(key), other.picture.keys.get(key)
        if here is None or there is None:
            return False
        # Expiries are rounded: two readings of one may lie on both sides of a limit.
        return here[0] == there[0] and abs(here[1] - there[1]) <= 1


def _of(state: State, name: str) -> str:
    return state.picture.files.get(name) or state.configuration.get(name) or "not there"


@dataclass
class Moment:
    """All that an instance and its store held once.

    :ivar databases: name -> name of its copy.
    :ivar keys: (database, RESTORE command) of each key of Redis.
    """

    name: str
    databases: dict[str, str]
    keys: list[_Key] = field(default_factory=list)


class Lab:
    """One lane of the harness; a context manager.

    :param root: an empty folder with a short path.
    :param disks: give the host, the store and the database small file systems of their own, where root runs this.
    """

    def __init__(self, root: Path, disks: bool = True) -> None:
        self.root = root
        self.disks = Disks(root, disks)
        self.instance = Instance(root / "host/instance", EVENTS)
        # What a server that is killed had, it has again when it comes back.
        self.instance.redis = RedisServer(options=["appendonly yes"], directory=root / "database/redis")
        self.spools = root / "host/spool"
        self.work = self.instance.root / "var/lib/authentik-recovery"
        self.old: State
        self.new: State
        self._beginning: Moment

    def __enter__(self) -> Lab:
        self.instance.redis.directory.mkdir()
        with _temporary_files_in(self.root / "database"):
            self.instance.__enter__()
        self.postgres_relay = Relay(self.instance.postgres.port)
        self.redis_relay = Relay(self.instance.redis.port)
        self.site = Site(self.root, self.instance)
        self.site.store = self.root / "store/sets"
        self._inventory()
        self.instance.create()
        self._through_relays()
        return self

    def __exit__(self, *exc: object) -> None:
        self.postgres_relay.close()
        self.redis_relay.close()
        self.site.controller.close()
        self.instance.__exit__()
        self.disks.close()

    def state(self) -> State:
        """Return what the live instance holds."""
        # Folders of the configuration are the host's own, and copies that are kept are looked for elsewhere (strays).
        etc = files_oracle.read_files([self.instance.root / "etc"]).items()
        files = {path: of for path, of in etc if not Path(path).is_dir() and ".before-" not in path}
        return State(self.instance.picture(), files)

    def divide(self) -> None:
        """Call the present content and the present store ``new`` and make other content, ``old``."""
        self.new = self.state()
        leave(self.site)
        with open(self.instance.root / "etc/default/authentik", "a", encoding="utf-8") as environment:
            environment.write("AUTHENTIK_ERROR_REPORTING__ENABLED=false\n")
        self.old = self.state()
        self._beginning = self.keep("beginning")

    def keep(self, name: str) -> Moment:
        """Copy all that the instance and its store hold now, for :meth:`reset`."""
        postgres = self.instance.postgres
        databases = [database for database in postgres.databases() if not database.startswith(KEPT)]
        moment = Moment(name, {database: "%s%s_%d" % (KEPT, name, n) for n, database in enumerate(databases)})
        for database, copy in moment.databases.items():
            postgres.psql('CREATE DATABASE %s TEMPLATE "%s" OWNER authentik' % (copy, database))
        moment.keys = self._read_keys()
        for live, folder in self._folders(moment):
            _copy(live, folder)
        return moment

    def _folders(self, moment: Moment) -> list[tuple[Path, Path]]:
        kept = self.root / "kept" / moment.name
        return [(self.instance.root, kept / "host"), (self.site.store, kept / "store")]

    def reset(self, moment: Moment | None = None) -> None:
        """Go back to the moment after :meth:`divide`, or to another one, whatever happened since."""
        moment = moment or self._beginning
        self.disks.free()
        self.revive()
        postgres = self.instance.postgres
        for name in self.instance.postgres.databases():
            if not name.startswith(KEPT):
                postgres.psql('DROP DATABASE "%s" WITH (FORCE)' % name)
        for name, copy in moment.databases.items():
            postgres.psql('CREATE DATABASE "%s" TEMPLATE %s OWNER authentik' % (name, copy))
        self.instance.redis.send_all([("FLUSHALL",)])
        for database in sorted({int(key[0]) for key in moment.keys}):
            self.instance.redis.send_all([key[1:] for key in moment.keys if key[0] == database], db=database)
        for live, folder in self._folders(moment):
            shutil.rmtree(live, ignore_errors=True)
            _copy(folder, live)
        shutil.rmtree(self.spools)
        self.spools.mkdir(mode=0o755)
        for leftover in self.site.controller.work.glob("home/.ansible*/*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def revive(self) -> None:
        """Start the servers that do not run."""
        postgres, redis = self.instance.postgres, self.instance.redis
        if not postgres.alive():
            postgres.revive()
        if redis.process is None or redis.process.poll() is not None:
            redis.restart(hard=True)

    def set_ids(self) -> list[str]:
        """Return the ids of the folders in the store that say to be sets."""
        return [path.name for path in self.site.sets()]

    def _inventory(self) -> None:
        self.spools.mkdir(mode=0o755)
        path = self.site.controller.inventory
        inventory = json.loads(path.read_text())
        inventory["authentik"]["hosts"][NAME].update(
            authentik_spool_dir=str(self.spools), authentik_chunk_size="32K", authentik_overwrite_config=True
        )
        # Given here, so that the command which a restore prints works as it is.
        inventory["all"] = {"vars": {"authentik_store": str(self.site.store), "authentik_allow_ephemeral_store": True}}
        path.write_text(json.dumps(inventory))

    def _through_relays(self) -> None:
        path = self.instance.root / "etc/default/authentik"
        text = path.read_text()
        for server, relay in (
            (self.instance.postgres.port, self.postgres_relay.port),
            (self.instance.redis.port, self.redis_relay.port),
        ):
            text = text.replace(str(server), str(relay))
        path.write_text(text)

    def _read_keys(self) -> list[_Key]:
        """Return (database, RESTORE command) of each key, its expiry as a time."""
        redis = self.instance.redis
        found: list[_Key] = []
        for database in range(16):
            for name in redis.keys(database):
                dump, left = redis.send_all([("DUMP", name), ("PTTL", name)], db=database)
                if not isinstance(dump, bytes) or not isinstance(left, int):
                    raise AssertionError("%r cannot be dumped" % name)
                expires = 0 if left < 0 else redis.time_ms() + left
                found.append((database, "RESTORE", name, expires, dump, "ABSTTL"))
        return found


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
