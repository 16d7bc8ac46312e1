# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Redis through Ansible and the store: streamed into a backup set, and from it back into the server."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.playbook import Controller
from tests.support.redis import RedisServer
from tests.support.redis_data import FURTHER, fill
from tests.support.redis_module import RESTORE_ID, options_for

COLLECTION = "authentik_ops.recovery."


def play(*tasks: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"hosts": "localhost", "gather_facts": False, "tasks": list(tasks)}]


def test_into_the_store_and_back(
    make_redis: Callable[..., RedisServer], controller: Controller, tmp_path: Path
) -> None:
    server = make_redis(password="secret")
    fill(server)
    before = server.content()
    store = {"store": str(tmp_path / "store"), "instance": "sso"}
    small = {"chunk_size": "1M", "window": 2}
    instance = options_for(server)
    opened = {"store": store["store"], "instance": "sso", "id": "{{ opened.id }}"}
    saving = controller.playbook(
        play(
            {
                COLLECTION + "authentik_backup_set": {**store, "state": "open", "allow_ephemeral": True},
                "register": "opened",
            },
            {COLLECTION + "authentik_redis_snapshot": {**instance, **small, "backup_set": opened}, "register": "saved"},
            {
                COLLECTION + "authentik_backup_set": {
                    **store,
                    "state": "published",
                    "id": "{{ opened.id }}",
                    "instance_facts": {"deployment": "host"},
                }
            },
        )
    )
    assert saving.ok, saving.output
    manifest_path = next((tmp_path / "store" / "sso").glob("*/manifest.json"))
    manifest = json.loads(manifest_path.read_text())
    data = (manifest_path.parent / "redis" / "dump.rdb").read_bytes()
    assert manifest["artifacts"][0]["sha256"] == hashlib.sha256(data).hexdigest()
    assert manifest["components"]["redis"]["fingerprint"]["keys"] == {"0": len(server.keys(0)), "1": 300, "9": 5}
    server.send("FLUSHALL")
    server.send("SET", "new", "x")

    options = {**instance, **small, "restore_id": RESTORE_ID, "work_dir": str(tmp_path / "kept")}
    options["redis_databases"] = [0, *FURTHER]
    options["backup_set"] = {**store, "id": manifest_path.parent.name}

    def steps(*names: str, check: bool = False) -> list[dict[str, Any]]:
        name = COLLECTION + "authentik_redis_restore"
        run = controller.playbook(play(*({name: {**options, "step": step}} for step in names)), check=check)
        assert run.ok, run.output
        return [done.result for done in run.of(name)]

    (plan,) = steps("prepare", check=True)
    assert (plan["changed"], plan["keys"]["1"]) == (False, 300)
    assert not (tmp_path / "kept").exists()
    checked, prepared, swapped = steps("check", "prepare", "swap")
    assert "1 key is replaced by" in checked["plan"][1]
    assert prepared["work_folder"] == str(tmp_path / "kept" / RESTORE_ID / "redis")
    assert swapped["keys"]["1"] == 300
    assert server.content() == before
    # A verification that fails meanwhile does not take away the way back.
    verified = manifest_path.parent.with_name(manifest_path.parent.name + ".verified.json")
    verified.write_text(json.dumps({"checks": [{"level": "checksums", "ok": False, "error": "damaged"}]}))
    assert [done["changed"] for done in steps("undo", "undo")] == [True, False]
    assert server.keys() == [b"new"]
