# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a restore makes of a compose project is taken away again, and nothing that was there before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _compose_restore as restore
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import Image
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._process import Completed

PROJECT, SERVICE = "com.docker.compose.project", "com.docker.compose.service"


class Engine:
    """An engine's objects, and what it was told to do."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.found: list[dict[str, Any]] = []
        self.there: dict[str, list[str]] = {"image": [], "network": [], "volume": []}
        self.labelled: list[str] = []

    def add(
        self, name: str, running: bool = True, networks: tuple[str, ...] = (), labels: dict[str, str] | None = None
    ) -> None:
        self.found.append(
            {
                "Id": "id-" + name,
                "Name": "/" + name,
                "State": {"Running": running},
                "Config": {"Labels": labels or {}},
                "networks": networks,
            }
        )

    def service(self, project: str, service: str, running: bool = True) -> None:
        self.add("%s-%s-1" % (project, service), running, labels={PROJECT: project, SERVICE: service})

    def containers(self, *filters: str) -> list[dict[str, Any]]:
        def meets(item: dict[str, Any], text: str) -> bool:
            kind, _mark, value = text.partition("=")
            name, _mark, wanted = value.partition("=")
            if kind == "network":
                return value in item["networks"]
            return name in item["Config"]["Labels"] and wanted in ("", item["Config"]["Labels"][name])

        return [item for item in self.found if all(meets(item, text) for text in filters)]

    def inspect(self, kind: str, names: list[str]) -> list[dict[str, Any]]:
        return [{"Name": name, "Id": "sha256:of " + name} for name in names if name in self.there[kind]]

    def run(self, arguments: list[str], timeout: float | None = None) -> Completed:
        if arguments[:2] == ["volume", "ls"]:
            return Completed(arguments, 0, "\n".join(self.labelled).encode(), "")
        self.told.append(" ".join(arguments))
        return Completed(arguments, 0, b"", "")


NOTE: dict[str, Any] = {
    "project": "sso",
    "services": ["server", "worker"],
    "started": ["postgresql"],
    "networks": ["sso_default"],
    "volumes": ["sso_media"],
    "folders": [],
}


@pytest.fixture
def engine() -> Engine:
    made = Engine()
    made.service("sso", "server")
    made.service("sso", "worker", running=False)
    made.service("sso", "postgresql")
    made.service("sso", "proxy")
    made.service("other", "server")
    made.add("ak-outpost-ldap", networks=("sso_default",), labels={"io.goauthentik.outpost-uuid": "1"})
    made.add("ak-outpost-other", networks=("other_default",), labels={"io.goauthentik.outpost-uuid": "2"})
    made.add("visitor", networks=("sso_default",))
    made.there.update(network=["sso_default", "other_default"], volume=["sso_media", "sso_database"])
    return made


def test_only_what_was_made_is_taken_away(engine: Engine) -> None:
    done = restore.take_back(engine, NOTE, False)  # type: ignore[arg-type]
    assert engine.told == [
        "rm --force --volumes id-sso-server-1",
        "rm --force --volumes id-sso-worker-1",
        "stop id-sso-postgresql-1",
        "rm --force --volumes id-ak-outpost-ldap",
        "network rm sso_default",
        "volume rm sso_media",
    ]
    assert done == [
        "compose: the container sso-server-1 was removed",
        "compose: the container sso-worker-1 was removed",
        "compose: the container sso-postgresql-1 was stopped again",
        "compose: the container ak-outpost-ldap was removed",
        "compose: the network sso_default was removed",
        "compose: the volume sso_media was removed",
    ]


def test_check_mode_says_the_same_and_does_nothing(engine: Engine) -> None:
    pretended = restore.take_back(engine, NOTE, True)  # type: ignore[arg-type]
    assert engine.told == []
    assert pretended == restore.take_back(engine, NOTE, False)  # type: ignore[arg-type]


def test_folders_that_docker_made_go_when_they_are_empty(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    binds = ["there", "made/deep/er", "made/full"]
    model: dict[str, Any] = {
        "services": {"a": {"volumes": [{"type": "bind", "source": str(tmp_path / name)} for name in binds]}}
    }
    model["services"]["b"] = {"volumes": [{"type": "volume", "source": "x"}]}
    folders = restore.missing_folders(model)
    assert folders == [str(tmp_path / name) for name in ("made/full", "made/deep/er", "made/deep", "made")]
    for name in binds[1:]:
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "made" / "full" / "file").touch()
    said = restore.take_back(Engine(), {**NOTE, "folders": folders}, False)  # type: ignore[arg-type]
    assert [line.rsplit("/", 1)[1] for line in said] == ["er was removed", "deep was removed"]
    assert (tmp_path / "made" / "full" / "file").exists()
    assert (tmp_path / "there").exists()


@pytest.mark.parametrize(
    ("volumes", "labelled", "note", "refused"),
    [
        ([], [], None, "container sso-postgresql-1, container sso-proxy-1, container sso-server-1"),
        ([], [], {**NOTE, "project": "another"}, "container sso-postgresql-1"),
        # What this very restore made does not stand in its way.
        (["sso_media"], ["sso_media"], NOTE, ""),
        (["sso_media", "sso_kept"], [], NOTE, "data: volume sso_kept"),
    ],
)
def test_a_project_that_is_there_is_refused(
    engine: Engine, volumes: list[str], labelled: list[str], note: dict[str, Any] | None, refused: str
) -> None:
    engine.labelled = labelled
    if not refused:
        restore.refuse_existing(engine, "sso", volumes, note)  # type: ignore[arg-type]
        return
    with pytest.raises(StateError, match="The compose project sso is on this host already.*%s" % refused):
        restore.refuse_existing(engine, "sso", volumes, note)  # type: ignore[arg-type]


def test_volumes_alone_are_enough_to_refuse() -> None:
    engine = Engine()
    restore.refuse_existing(engine, "sso", [], None)  # type: ignore[arg-type]
    engine.labelled = ["sso_database"]
    with pytest.raises(StateError, match="may hold data: volume sso_database"):
        restore.refuse_existing(engine, "sso", [], None)  # type: ignore[arg-type]


def test_missing_images_are_named_with_tag_and_digest() -> None:
    engine = Engine()
    engine.there["image"] = ["postgres:16", "sha256:9"]
    images = [
        Image("db", "postgres:16", "sha256:1"),
        Image("server", "ak:2025.12.4", "sha256:2", ("ak@sha256:abc",)),
        Image("worker", "ak:2025.12.4", "sha256:2", ("ak@sha256:abc",)),
        Image("cache", "redis:8", "sha256:9"),
    ]
    (server, pull), (cache, tag) = restore.missing_images(engine, images)  # type: ignore[arg-type]
    assert (
        server
        == "The image ak:2025.12.4 of server, worker is not on this host; the backup set was made with ak@sha256:abc"
    )
    assert pull == "docker pull ak@sha256:abc && docker tag ak@sha256:abc ak:2025.12.4"
    assert "redis:8 of cache" in cache
    assert tag == "docker tag sha256:of sha256:9 redis:8"


def test_the_note_outlives_a_crash_and_goes_with_the_undo(tmp_path: Path) -> None:
    note = restore.Note(str(tmp_path), "20261123T090000Z-11aa")
    assert note.read() is None
    note.write(NOTE)
    assert restore.Note(str(tmp_path), "20261123T090000Z-11aa").read() == NOTE
    path = tmp_path / "20261123T090000Z-11aa" / "compose" / "made.json"
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("{")
    with pytest.raises(StateError, match="cannot be read"):
        note.read()
    kept = tmp_path / "20261123T090000Z-11aa" / "redis"
    kept.mkdir()
    note.forget()
    assert (path.exists(), kept.exists()) == (False, True)
    note.write(NOTE)
    note.forget(redis=True)
    assert list(tmp_path.iterdir()) == []
