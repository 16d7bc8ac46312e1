# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every kind of damaged set is refused at the stage where it can be known, by a message that says what to do."""

from __future__ import annotations

import datetime
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _decode, _manifest
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import PostgresSettings
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    IntegrityError,
    RecoveryError,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._identity import IdentitySource
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._opened import plain_source
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import open_store
from tests.damage import corpus
from tests.damage.corpus import DECODE, LIST, OPEN, READ, Kind
from tests.damage.corpus_encrypted import encrypted as encrypted_kinds
from tests.damage.run import Damages
from tests.support.age import Key, age_key
from tests.support.site import NAME, Site

NOW = datetime.datetime(2026, 11, 28, 9, 0, tzinfo=datetime.UTC)
HERE = PostgresSettings(host="", port=5432, name="", user="")
PLAIN = {**corpus.AT_REST, **corpus.TOLD, **corpus.SAVED}
ENCRYPTED = sorted(encrypted_kinds("", ""))


class Rig(NamedTuple):
    """A good set, the same one encrypted, and its key and another one."""

    site: Site
    damages: Damages
    encrypted: Path
    key: Key
    other: Key


@pytest.fixture(scope="module")
def rig(site: Site) -> Iterator[Rig]:
    damages = Damages(site, seed=4)
    keys = [age_key(site.root, name) for name in ("mine", "nobodys")]
    yield Rig(site, damages, encrypt(damages.made, site.root / "encrypted", keys[0]), *keys)
    assert damages.live_differences() == []
    damages.close()


def encrypt(made: Path, root: Path, key: Key) -> Path:
    """Publish the content of a plain set as an encrypted one."""
    store, plain = open_store(str(root), NAME), json.loads((made / "manifest.json").read_text())
    partial = store.open(NOW, b"\x01\x02", os.getpid(), [key.public])
    entries = []
    for artifact in plain["artifacts"]:
        with partial.sink().artifact(artifact["path"]) as out:
            out.write((made / artifact["path"]).read_bytes())
        entries.append({**artifact, **out.entry()})
    components = {
        name: {**record, "artifacts": [{**one, "path": one["path"] + ".age"} for one in record["artifacts"]]}
        for name, record in plain["components"].items()
    }
    for number, (name, record) in enumerate(sorted(components.items())):
        partial.save_record(dict(record, component=name), entries if number == 0 else [])
    manifest = _manifest.build(partial.set_id, plain["instance"], NOW, NOW, plain["created_by"], entries, components)
    return Path(store.publish(partial, manifest, NOW).path)


def refusal(rig: Rig, folder: Path, kind: Kind) -> tuple[str, RecoveryError]:
    """Go through the stages, and return the one that refuses, and what it says."""
    store = open_store(str(folder.parents[1]), NAME)
    stage = LIST
    refused: RecoveryError | None = None
    try:
        backup_set = store.get(folder.name)
        assert [one.set_id for one in store.list_sets()[0]] == [folder.name]
        stage = READ
        store.verify(backup_set, NOW, record_it=False)
        stage = OPEN
        source = plain_source(backup_set, IdentitySource(str(rig.key.file)))
        stage = DECODE
        if kind.stage == DECODE:
            part = only(backup_set.manifest, str(kind.says))
            _decode.decode(part, source, HERE, str(rig.site.instance.postgres.bin))
    except RecoveryError as exc:
        refused = exc
    if refused is None:
        raise AssertionError("refused by nobody")
    if stage == LIST:
        sets, problems = store.list_sets()
        assert sets == []
        assert [(one.name, one.reason) for one in problems] == [(folder.name, refused.cause)]
    return stage, refused


def only(manifest: dict[str, Any], says: str) -> dict[str, Any]:
    """Return the manifest of the one component whose artifact the message names: the others decode."""
    (component,) = {one["component"] for one in manifest["artifacts"] if re.match(says[:5], one["path"].split("/")[1])}
    artifacts = _manifest.artifacts_of(manifest, component)
    return dict(manifest, artifacts=artifacts, components={component: manifest["components"][component]})


@pytest.mark.parametrize("name", list(PLAIN))
def test_a_damaged_set_is_refused_by_the_right_message(rig: Rig, tmp_path: Path, name: str) -> None:
    kind = PLAIN[name]
    folder = corpus.copy_of(rig.damages.made, tmp_path / NAME / rig.damages.made.name)
    folder = kind.make(folder) or folder
    stage, refused = refusal(rig, folder, kind)
    assert stage == kind.stage, refused
    assert isinstance(refused, IntegrityError)
    assert re.search(kind.says, refused.cause, re.S), refused.cause
    assert refused.hint
    if stage == DECODE:
        path = next(path for path in paths(folder) if re.match(kind.says[:5], path.split("/")[1]))
        by_restore = rig.damages.refused_by_modules(path, folder)
        assert isinstance(by_restore, IntegrityError), by_restore
        assert path.split("/")[1].partition(".")[0] in by_restore.cause
        assert by_restore.hint
    assert rig.damages.changes() == []


def paths(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.glob("*/*")]


@pytest.mark.parametrize("name", ENCRYPTED)
def test_a_damaged_encrypted_set_is_refused_by_the_right_message(rig: Rig, tmp_path: Path, name: str) -> None:
    kind = encrypted_kinds(rig.key.public, rig.other.public)[name]
    folder = corpus.copy_of(rig.encrypted, tmp_path / NAME / rig.encrypted.name)
    kind.make(folder)
    stage, refused = refusal(rig, folder, kind)
    assert stage == kind.stage, refused
    assert isinstance(refused, InputError if "another key" in name else IntegrityError)
    assert re.search(kind.says, refused.cause, re.S), refused.cause
    assert refused.hint


def test_two_sets_in_each_others_place_are_none(rig: Rig, tmp_path: Path) -> None:
    """Each is whole, and neither is what its name says."""
    one, other = rig.damages.made, rig.encrypted
    for source, target in ((one, other), (other, one)):
        corpus.copy_of(source, tmp_path / NAME / target.name)
    sets, problems = open_store(str(tmp_path), NAME).list_sets()
    assert sets == []
    assert {problem.name for problem in problems} == {one.name, other.name}
    assert all("is that of %s" % NAME in problem.reason for problem in problems)


def test_there_are_enough_kinds() -> None:
    assert len(PLAIN) + len(ENCRYPTED) >= 40
