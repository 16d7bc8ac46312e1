# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A directory that did not change is not sent again: the store links the artifact of the set before."""

from __future__ import annotations

import os
from pathlib import Path

from tests.integration.streaming.rig import BACKUP_SET, Rig
from tests.support.playbook import Run

MEDIA = "static/media.tar.gz"


def _backup(rig: Rig, media: Path, **published: str) -> Run:
    produce = {
        **rig.spool,
        "backup_set": {**rig.where, "id": "{{ opened.id }}"},
        "components": ["media"],
        "directories": {"media": str(media)},
        "compression": "gzip",
        "config_paths": [],
    }
    run = rig.play(
        [
            {BACKUP_SET: {**rig.where, "state": "open", "allow_ephemeral": True}, "register": "opened"},
            {"authentik_ops.recovery.authentik_static_dirs": produce},
            {BACKUP_SET: {**rig.where, "state": "published", "id": "{{ opened.id }}", **published}},
        ]
    )
    assert run.ok, run.output
    return run


def test_an_unchanged_directory_is_linked_and_a_changed_or_damaged_one_is_sent(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    media = tmp_path / "media"
    media.mkdir()
    (media / "logo.png").write_bytes(os.urandom(50000))
    first, second = (_backup(rig, media).result for _run in range(2))
    paths = [os.path.join(one["path"], MEDIA) for one in (first, second)]
    assert os.path.samefile(*paths)
    assert [one["artifacts"][0]["linked_from"] for one in (first, second)] == [None, first["id"]]
    assert first["artifacts"][0]["sha256"] == second["artifacts"][0]["sha256"]

    (media / "logo.png").write_bytes(os.urandom(50000))
    third = _backup(rig, media).result
    assert third["artifacts"][0]["linked_from"] is None
    assert third["artifacts"][0]["sha256"] != first["artifacts"][0]["sha256"]

    damaged = Path(third["path"]) / MEDIA
    damaged.chmod(0o600)
    data = bytearray(damaged.read_bytes())
    data[1000] ^= 1
    damaged.write_bytes(data)
    run = _backup(rig, media)
    assert run.result["artifacts"][0]["linked_from"] is None
    assert "is damaged and is saved anew" in run.output
    rig.close()


def test_a_backup_links_to_the_backup_before_and_never_to_what_a_restore_replaced(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    media = tmp_path / "media"
    media.mkdir()
    (media / "logo.png").write_bytes(b"good")
    _backup(rig, media)
    (media / "logo.png").write_bytes(b"live")
    _backup(rig, media, restore_id="20261122T040000Z-1b2c")
    backup = _backup(rig, media).result
    assert backup["artifacts"][0]["linked_from"] is None
    for more in ({"restore_id": "20261122T050000Z-1b2c"}, {"restore_id": "20261122T060000Z-1b2c"}, {}):
        assert _backup(rig, media, **more).result["artifacts"][0]["linked_from"] == backup["id"]
    rig.close()
