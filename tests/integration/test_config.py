# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration saved and brought back, file by file, on real file systems."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _config, _config_apply, _config_restore
from ansible_collections.authentik_ops.recovery.plugins.module_utils._config_restore import ConfigRestore
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    DiscoveryError,
    InputError,
    IntegrityError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import DirectorySink, DirectorySource
from tests.integration.file_trees import as_nobody, die, in_child, open_folder, snapshot
from tests.support.announce import leave_out

__all__ = ["open_folder"]
RESTORE_ID = "20261123T090000Z-11aa"
KEY = "k3y-0f-the-instance"


class Site:
    """A configuration that was saved."""

    def __init__(self, base: Path, key: str | None = KEY) -> None:
        self.base, self.etc = base, base / "etc"
        (self.etc / "config.d").mkdir(parents=True)
        os.chmod(self.etc, 0o750)
        (self.etc / "config.yml").write_text("secret_key: file://%s/secret\n" % base)
        (self.etc / "config.d" / "10.yml").write_text("log_level: info\n")
        (base / "secret").write_text(KEY)
        os.chmod(base / "secret", 0o600)
        (base / "real.env").write_text("AUTHENTIK_POSTGRESQL__PASSWORD=x\n")
        os.chmod(base / "real.env", 0o640)
        (base / "link.env").symlink_to("real.env")
        if os.geteuid() == 0:
            os.chown(base / "real.env", 4321, 1234)
        names = ["etc/config.yml", "etc/config.d/10.yml", "secret", "link.env"]
        self.files = [(str(base / name), "config") for name in names]
        sink = DirectorySink(str(base / "set"))
        self.record = _config.save(self.files, key, sink, "gzip")
        self.manifest: dict[str, Any] = {
            "instance": {"secret_key_fingerprint": self.record["secret_key_fingerprint"]},
            "components": {"config": self.record},
            "artifacts": [dict(artifact, component="config") for artifact in self.record["artifacts"]],
        }
        self.saved = self.look()

    def look(self) -> dict[bytes, Any]:
        """Everything but the set, the work folder and the times of folders."""
        found = snapshot(self.base)
        for facts in found.values():
            if facts["mode"].startswith("0o4"):
                facts["mtime"] = None
        return {name: facts for name, facts in found.items() if name.split(b"/")[0] not in (b"set", b"work", b".")}

    def restore(self, overwrite: bool = False) -> ConfigRestore:
        return ConfigRestore(self.manifest, RESTORE_ID, str(self.base / "work"), overwrite)

    def source(self) -> DirectorySource:
        return DirectorySource(str(self.base / "set"), self.manifest["artifacts"])

    @property
    def archive(self) -> Path:
        return self.base / "set" / "config" / "config.tar.gz"

    def lose(self) -> None:
        subprocess.run(["rm", "-r", str(self.etc), str(self.base / "secret")], check=True)
        for name in ("real.env", "link.env"):
            (self.base / name).unlink()


@pytest.fixture(autouse=True)
def _fewer_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_config, "ITERATIONS", 1000)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_by_hand_the_archive_gives_back_the_files(site: Site, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("root")
    done = subprocess.run(
        ["tar", "-xpzf", str(site.archive), "-C", str(root)], check=True, capture_output=True, text=True
    )
    assert done.stderr == ""
    inside = root / str(site.base).lstrip("/")
    assert snapshot(inside)[b"etc/config.yml"] == site.saved[b"etc/config.yml"]
    for name in (b"real.env", b"link.env", b"secret", b"etc/config.d/10.yml"):
        assert snapshot(inside)[name] == site.saved[name]


def test_the_record_helps_nobody_to_guess(site: Site) -> None:
    text = json.dumps(site.record)
    for content in (KEY, KEY + "\n", "AUTHENTIK_POSTGRESQL__PASSWORD=x\n", "log_level: info\n"):
        assert hashlib.sha256(content.encode()).hexdigest() not in text
        assert content not in text
    again = _config.save(site.files, KEY, DirectorySink(str(site.base / "set2")), "gzip")
    assert again["fingerprint"]["digest"] != site.record["fingerprint"]["digest"]
    assert again["artifacts"][0]["sha256"] != site.record["artifacts"][0]["sha256"]


def test_what_is_not_there_is_said(site: Site) -> None:
    files = [*site.files, (str(site.base / "gone"), "env"), (str(site.etc), "config")]
    record = _config.save(files, "another key", None, "gzip")
    assert record["warnings"] == [
        "%s (env) does not exist; it is not in this backup" % (site.base / "gone"),
        "%s (config) is not a regular file; it is not in this backup" % site.etc,
    ]
    assert [item["path"] for item in record["files"]] == [path for path, _kind in site.files]
    with pytest.raises(DiscoveryError, match=r"config_paths .* env_files"):
        _config.save([(str(site.base / "gone"), "env")], KEY, None, "gzip")


@pytest.mark.parametrize(("key", "said"), [(None, "was not found"), ("elsewhere", "None of the saved files holds")])
def test_a_key_that_is_not_saved_is_said(tmp_path: Path, key: str | None, said: str) -> None:
    assert any(said in warning for warning in Site(tmp_path, key).record["warnings"])


def test_lost_files_come_back_exactly_and_undo_removes_them(site: Site) -> None:
    site.lose()
    lost = site.look()
    changes, plan = site.restore().check(site.source())
    assert len(changes) == len(plan) == 7
    assert site.look() == lost
    site.restore().prepare(site.source())
    assert site.look() == lost
    assert len(site.restore().swap()) == 7
    assert site.look() == site.saved
    assert site.restore().swap() == []
    site.restore().undo()
    assert site.look() == lost
    assert not (site.base / "work" / RESTORE_ID).exists()
    assert site.restore().undo() == []


def test_equal_files_stay(site: Site) -> None:
    assert site.restore().check(site.source()) == ([], [])
    inode = (site.etc / "config.yml").stat().st_ino
    site.restore(overwrite=True).prepare(site.source())
    assert site.restore().swap() == []
    assert (site.etc / "config.yml").stat().st_ino == inode


def damage(site: Site) -> dict[bytes, Any]:
    (site.etc / "config.yml").write_text("secret_key: new\n")
    os.chmod(site.base / "secret", 0o644)
    (site.base / "link.env").unlink()
    (site.base / "link.env").symlink_to("elsewhere")
    return site.look()


def test_different_files_are_left_and_said_without_overwrite(site: Site) -> None:
    damaged = damage(site)
    changes, plan = site.restore().check(site.source())
    assert changes == []
    assert [sentence.split(" differs ")[1] for sentence in sorted(plan)] == [
        "(content); it is left as it is, since overwrite is false",
        "(it leads to elsewhere, in the backup to real.env); it is left as it is, since overwrite is false",
        "(mode 0644, in the backup 0600); it is left as it is, since overwrite is false",
    ]
    site.restore().prepare(site.source())
    assert site.restore().swap() == []
    assert site.look() == damaged


def test_different_files_are_replaced_and_kept_with_overwrite(site: Site) -> None:
    damaged = damage(site)
    restore = site.restore(overwrite=True)
    restore.prepare(site.source())
    assert site.look() == damaged
    restore.swap()
    found = site.look()
    assert {name: facts for name, facts in found.items() if b".before-" not in name}.keys() == site.saved.keys()
    for name in (b"etc/config.yml", b"secret"):
        assert found[name] == site.saved[name]
        kept = found[name + b".before-" + RESTORE_ID.encode()]
        assert kept == dict(damaged[name], names=kept["names"])
    assert os.readlink(site.base / "link.env") == "real.env"
    restore.undo()
    assert site.look() == damaged


def test_what_was_changed_after_the_restore_survives_undo(site: Site) -> None:
    damaged = damage(site)
    restore = site.restore(overwrite=True)
    restore.prepare(site.source())
    restore.swap()
    (site.base / "secret").write_text("changed since")
    kept = site.base / ("secret.undone-" + RESTORE_ID)
    assert any(kept.name in sentence for sentence in site.restore().undo(pretend=True))
    assert not kept.exists()
    site.restore().undo()
    assert kept.read_text() == "changed since"
    assert kept.stat().st_mode & 0o077 == 0
    kept.unlink()
    assert site.look() == damaged


def test_a_directory_in_a_files_place_is_never_replaced(site: Site) -> None:
    (site.base / "secret").unlink()
    (site.base / "secret").mkdir()
    restore = site.restore(overwrite=True)
    assert "differs (it is no file); it is left" in restore.check(site.source())[1][0]
    restore.prepare(site.source())
    restore.swap()
    assert (site.base / "secret").is_dir()


def test_a_link_on_the_way_is_not_followed(site: Site) -> None:
    subprocess.run(["rm", "-r", str(site.etc)], check=True)
    (site.base / "elsewhere").mkdir()
    site.etc.symlink_to("elsewhere")
    with pytest.raises(StateError, match=r"config.yml cannot be reached"):
        site.restore(overwrite=True).check(site.source())
    with pytest.raises(StateError, match="cannot be reached"):
        site.restore(overwrite=True).prepare(site.source())
    assert list((site.base / "elsewhere").iterdir()) == []


def test_a_file_made_since_prepare_is_not_lost(site: Site) -> None:
    site.lose()
    site.restore().prepare(site.source())
    (site.base / "secret").write_text("made meanwhile")
    with pytest.raises(StateError, match="secret was made since the restore was prepared"):
        site.restore().swap()
    said = site.restore().undo()
    assert (site.base / "secret").read_text() == "made meanwhile"
    assert any("was changed since it was restored; it is left" in sentence for sentence in said)


@pytest.mark.parametrize("nth", range(1, 7))
@pytest.mark.parametrize("end", ["undo", "again"])
def test_killed_while_swapping(site: Site, nth: int, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = damage(site)
    (site.etc / "config.d" / "10.yml").unlink()
    del damaged[b"etc/config.d/10.yml"]
    site.restore(overwrite=True).prepare(site.source())
    count = [0]
    rename = os.rename

    def killing(*args: Any, **more: Any) -> None:
        count[0] += 1
        if count[0] == nth:
            die()
        rename(*args, **more)

    monkeypatch.setattr(os, "rename", killing)
    assert in_child(lambda: site.restore().swap()) == signal.SIGKILL
    monkeypatch.undo()
    if end == "again":
        site.restore().swap()
        assert (site.look()[b"secret"], site.look()[b"etc/config.yml"]) == (
            site.saved[b"secret"],
            site.saved[b"etc/config.yml"],
        )
    site.restore().undo()
    assert site.look() == damaged


def test_prepared_secrets_are_private(site: Site) -> None:
    site.lose()
    site.restore().prepare(site.source())
    for path in [site.base / "work", *(site.base / "work").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


@pytest.mark.parametrize("damaged", ["flipped", "truncated", "digest"])
def test_a_damaged_archive_changes_nothing(site: Site, damaged: str) -> None:
    site.lose()
    lost = site.look()
    data = bytearray(site.archive.read_bytes())
    if damaged == "flipped":
        data[len(data) // 2] ^= 1
    elif damaged == "truncated":
        del data[-20:]
    else:
        site.record["fingerprint"]["digest"] = "0" * 64
    site.archive.write_bytes(bytes(data))
    for step in (site.restore().check, site.restore().prepare):
        with pytest.raises(IntegrityError):
            step(site.source())
    with pytest.raises(StateError, match="No configuration is prepared"):
        site.restore().swap()
    assert site.look() == lost


def test_the_secret_key_is_compared_and_a_difference_is_said_loudly(site: Site) -> None:
    assert site.restore().secret_key(KEY) == ("same", [])
    state, said = site.restore().secret_key("another")
    assert state == "different"
    assert said[0].startswith("SECRET KEY DIFFERS")
    assert "all users have to log in again" in said[0]
    assert "2023.6" in said[0]
    assert site.restore().secret_key(None)[0] == "unknown"
    site.manifest["instance"]["secret_key_fingerprint"] = None
    assert "no fingerprint" in site.restore().secret_key(KEY)[1][0]


def test_a_set_without_configuration(site: Site) -> None:
    with pytest.raises(InputError, match=r"holds no configuration. *Leave config out"):
        ConfigRestore({"components": {"media": {}}, "instance": {}, "artifacts": []}, RESTORE_ID, "/x", False)


def test_without_root_what_belongs_to_oneself_comes_back(open_folder: Path) -> None:
    def work() -> str:
        site = Site(open_folder)
        site.lose()
        site.restore().prepare(site.source())
        site.restore().swap()
        return str(site.look() == site.saved)

    assert as_nobody(work) == "True"


def test_without_root_what_belongs_to_others_is_refused(open_folder: Path) -> None:
    if os.geteuid() != 0:
        leave_out("making files of several owners needs root")
    site = Site(open_folder)
    for path in (open_folder / "set", open_folder / "set" / "config"):
        os.chmod(path, 0o755)
    os.chmod(site.archive, 0o644)
    site.lose()
    found = as_nobody(lambda: site.restore().check(site.source()))
    assert found.startswith("StateError: The configuration cannot be restored: ")
    assert "belongs to uid 4321, the task runs as uid 65534; only root restores owners" in found


def test_units_are_read_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        leave_out("systemd's unit files belong to root")
    ran: list[list[str]] = []
    monkeypatch.setattr(_config_restore, "run", lambda argv, **_more: ran.append(argv[1:]))
    monkeypatch.setattr(_config_restore, "find_program", lambda name: "/bin/" + name)
    monkeypatch.setattr(
        os.path, "isdir", lambda path, isdir=os.path.isdir: path == "/run/systemd/system" or isdir(path)
    )
    unit = _config_apply.Item("/etc/systemd/system/x.service", "f", "create", 0o644, 0, 0, 0, "", [])
    _config_restore._reload_units([unit], ["done"])
    _config_restore._reload_units([unit], [])
    _config_restore._reload_units([unit._replace(path="/etc/authentik/config.yml")], ["done"])
    assert ran == [["daemon-reload"]]
