# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The measures. Each makes what it needs in the folder it is given and returns rows of the table."""

from __future__ import annotations

import datetime
import hashlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.watch import Watch
from tests.support import authentik_data
from tests.support.playbook import ROOT, Controller
from tests.support.postgres_server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

MB = 1_000_000
NAME = "authentik_ops.recovery"
PASSWORD = "bench"
WINDOW = 4 * 64 * 1024 * 1024
_FIRST = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
# A run of the same command twice differs by about this much.
FLAT = 24 * MB


@dataclass
class Row:
    """One line of the table; ``good`` is false where an aim was missed."""

    what: str
    result: str
    aim: str = ""
    good: bool = True


def dump(work: Path, megabytes: int) -> list[Row]:
    """A database through the collection, against ``pg_dump -Fc -Z0 | zstd -1 > file``."""
    # Text of 4 kB per event, which compresses about as badly as real event contexts.
    with Server(18) as server:
        database = server.create_database("authentik", "authentik", PASSWORD)
        authentik_data.load(database.psql, rows=max(megabytes * 190, 200), tenants=(), text_bytes=4000)
        size = int(server.psql("SELECT pg_database_size('authentik')").strip())
        plain = min(_plain_dump(server, work) for _run in range(2))
        options = {
            "config_paths": [],
            "postgresql_host": "127.0.0.1",
            "postgresql_port": server.port,
            "postgresql_name": "authentik",
            "postgresql_user": "authentik",
            "postgresql_password": PASSWORD,
            "postgresql_bin_dir": str(server.bin),
            "server_units": [],
            "worker_units": [],
            "outpost_units": [],
        }
        with _controller(work) as controller:
            taken = [_save(controller, work, "authentik_pg_dump", options) for _run in range(2)]
    ours = min(seconds for seconds, _bytes in taken)
    return [
        Row("database of %d MB: pg_dump -Fc -Z0 | zstd -1 > file" % (size // MB), "%.1f s" % plain),
        Row("  the same by authentik_pg_dump, local connection, with fingerprint", "%.1f s" % ours),
        Row("  ratio", "%.2f" % (ours / plain), "<= 1.25", ours / plain <= 1.25),
    ]


def transfer(work: Path, mebibytes: int) -> list[Row]:
    """Incompressible bytes from a real host over ssh with become, against ``ssh host cat > file``."""
    from tests.support import docker_engine, hosts

    if os.geteuid() != 0:
        return [Row("transfer over ssh: left out, needs root and a container engine", "-")]
    docker_engine.install_packages()
    engine = docker_engine.Engine()
    try:
        engine.start()
        key = work / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        engine.import_image(hosts.image_tarball("bookworm"), "recovery-bookworm")
        host = hosts.Host(engine, "bookworm", key)
        host.sh("mkdir /srv/media && head -c %dM /dev/urandom > /srv/media/random && sync" % mebibytes)
        plain = min(_ssh_cat(host, work) for _run in range(2))
        options = {"config_paths": [], "directories": {"media": "/srv/media"}, "components": ["media"]}
        with _controller(work, {"sso": host.variables}) as controller:
            taken = [
                _save(controller, work, "authentik_static_dirs", {**options, **_no_units()}, {"become": True})
                for _run in range(2)
            ]
    finally:
        engine.stop()
    ours = min(seconds for seconds, _bytes in taken)
    return [
        Row("%d MiB incompressible: ssh host cat > file" % mebibytes, "%.1f s" % plain),
        Row("  the same by authentik_static_dirs, default ssh_args, become", "%.1f s" % ours),
        Row("  ratio", "%.2f" % (ours / plain), "<= 2.00", ours / plain <= 2.0),
    ]


def memory(work: Path, sizes: list[int]) -> list[Row]:
    """The controller's peak memory and the largest spool, by size of the artifact (MB)."""
    rows = []
    peaks = []
    for size in sizes:
        media = work / "media"
        media.mkdir(exist_ok=True)
        with open(media / "random", "wb") as out:
            for _block in range(size):
                out.write(os.urandom(MB))
        spool = work / "spool"
        spool.mkdir(exist_ok=True)
        options = {"config_paths": [], "directories": {"media": str(media)}, "components": ["media"], **_no_units()}
        with _controller(work) as controller, Watch(spool) as watch:
            seconds, _bytes = _save(controller, work, "authentik_static_dirs", {**options, "spool_dir": str(spool)})
        peaks.append(watch.memory)
        flat = watch.memory - peaks[0] <= FLAT
        rows.append(Row("artifact of %d MB: seconds" % size, "%.1f s" % seconds))
        rows.append(Row("  peak memory of the controller", "%d MB" % (watch.memory // MB), "flat", flat))
        limit = "<= %d MB" % (WINDOW // MB)
        # Beside the chunks there is only the small state file.
        rows.append(Row("  largest spool", "%d MB" % (watch.spool // MB), limit, watch.spool <= WINDOW + MB))
    return rows


def listing(sets: int) -> list[Row]:
    """A list of many sets in a bucket of a real S3 server: by manifests, and by the catalog of a backup."""
    sys.path.insert(0, str(ROOT / ".collections"))
    from tests.support.s3_server import S3Server
    from tests.support.store import open_store, publish, requests

    with S3Server() as server:
        server.judge.create_bucket(Bucket="store")
        store = open_store("s3://store", "sso", server.options())
        objects = _multiply(server.judge, publish(store).set_id, sets)
        rows = []
        for catalog in (False, True):
            if catalog:
                publish(store, now=datetime.datetime.now(datetime.UTC))
            with requests(store) as sent:
                start = time.monotonic()
                found, problems = store.list_sets()
                seconds = time.monotonic() - start
            if len(found) != sets + catalog or problems or not all(one.verified for one in found):
                sys.exit("%d sets were listed, and %s" % (len(found), problems[:3]))
            what = "list of %d sets, %d objects, in S3, %s" % (
                sets,
                objects,
                "by its catalog" if catalog else "without a catalog",
            )
            # A listing names a thousand objects, and the catalog takes one to read.
            most = objects // 1000 + 2
            aim = "<= %d" % most if catalog else ""
            rows.append(Row(what + (", by its catalog" if catalog else ", without a catalog"), "%.1f s" % seconds))
            rows.append(Row("  requests", "%d" % len(sent), aim, not aim or len(sent) <= most))
    return rows


def _multiply(client: Any, set_id: str, sets: int) -> int:
    """Put copies of a set under further ids, one each quarter of an hour, and return how many objects there are."""
    keys = [one["Key"] for one in client.list_objects_v2(Bucket="store", Prefix="sso/" + set_id)["Contents"]]
    content = {key: client.get_object(Bucket="store", Key=key)["Body"].read() for key in keys}
    # What names the digest of another object comes after it.
    ranks = {"RESTORE.md": 1, "manifest.json": 2, "SHA256SUMS": 3}
    order = sorted(keys, key=lambda key: (key.count("/") == 1, ranks.get(key.rpartition("/")[2], 0)))

    def copy(number: int) -> None:
        began = _FIRST + number * datetime.timedelta(minutes=15)
        changes = {set_id: "%s-%04x" % (began.strftime("%Y%m%dT%H%M%SZ"), number % 65536)}
        for key in order:
            new_key, data = key.replace(*next(iter(changes.items()))), content[key]
            for old, new in changes.items():
                data = data.replace(old.encode(), new.encode())
            changes[hashlib.sha256(content[key]).hexdigest()] = hashlib.sha256(data).hexdigest()
            client.put_object(Bucket="store", Key=new_key, Body=data)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(copy, range(1, sets)))
    return sets * len(keys)


def _no_units() -> dict[str, Any]:
    return {"server_units": [], "worker_units": [], "outpost_units": [], "storage_backend": "file"}


@contextmanager
def _controller(work: Path, hosts: dict[str, dict[str, Any]] | None = None) -> Iterator[Controller]:
    folder = work / "controller"
    folder.mkdir(exist_ok=True)
    made = Controller(folder, hosts)
    try:
        yield made
    finally:
        made.close()


def _save(
    controller: Controller, work: Path, module: str, options: dict[str, Any], keywords: dict[str, Any] | None = None
) -> tuple[float, int]:
    """Stream one component into a new set, discard the set, and return the seconds of the task and bytes stored."""
    reference = {"store": str(work / "store"), "instance": "bench"}
    opened = "%s.authentik_backup_set" % NAME
    saving = "%s.%s" % (NAME, module)
    tasks = [
        {opened: {**reference, "state": "open", "allow_ephemeral": True}, "register": "opened"},
        {saving: {**options, "backup_set": {**reference, "id": "{{ opened.id }}"}}, **(keywords or {})},
    ]
    play = {"hosts": "all", "gather_facts": False, "tasks": tasks}
    run = controller.playbook([play], timeout=3600)
    if not run.ok:
        sys.exit(run.output)
    stored = sum(path.stat().st_size for path in (work / "store").rglob("*") if path.is_file())
    identity = run.of("authentik_backup_set")[0].result["id"]
    discard = {opened: {**reference, "state": "discarded", "id": identity}}
    done = controller.playbook([{"hosts": "all", "gather_facts": False, "tasks": [discard]}])
    if not done.ok:
        sys.exit(done.output)
    return run.of(module)[0].seconds, stored


def _plain_dump(server: Server, work: Path) -> float:
    target = work / "plain.dump.zst"
    argv = [str(server.bin / "pg_dump"), "-Fc", "-Z0", "-d", "authentik"]
    start = time.monotonic()
    with open(target, "wb") as out:
        dumping = subprocess.Popen(argv, env=server.environment(), stdout=subprocess.PIPE)
        packing = subprocess.run(["zstd", "-1", "-q", "-c"], stdin=dumping.stdout, stdout=out, check=False)
        if dumping.wait() or packing.returncode:
            sys.exit("pg_dump | zstd failed")
    seconds = time.monotonic() - start
    target.unlink()
    return seconds


def _ssh_cat(host: Any, work: Path) -> float:
    where = host.variables
    argv = ["ssh", "-p", str(where["ansible_port"]), "-i", where["ansible_ssh_private_key_file"]]
    argv += where["ansible_ssh_common_args"].split() + ["ops@127.0.0.1", "cat /srv/media/random"]
    start = time.monotonic()
    with open(work / "plain", "wb") as out:
        subprocess.run(argv, stdout=out, check=True)
    seconds = time.monotonic() - start
    (work / "plain").unlink()
    return seconds
