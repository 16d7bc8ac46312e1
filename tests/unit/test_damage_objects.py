# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every kind of damaged files of S3 is refused at the stage where it can be known, by whoever would restore them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.authentik_ops.recovery.plugins.action import authentik_s3_restore
from ansible_collections.authentik_ops.recovery.plugins.module_utils import _decode, _static_restore
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import PostgresSettings
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import DirectorySource
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_places import Here
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._identity import IdentitySource
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._opened import plain_source
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._sets import BackupSet
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import open_store
from tests.damage import corpus_objects
from tests.damage.corpus import DECODE, LIST, READ, copy_of
from tests.damage.corpus_objects import INSTANCE, KINDS
from tests.support.store import NOW

HERE = PostgresSettings(host="", port=5432, name="", user="")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus_objects.make(tmp_path_factory.mktemp("made"))


def readers(found: BackupSet, data: Path) -> dict[str, Callable[[], object]]:
    """Return who reads the content: a verification, and a restore into a bucket and one to a disk."""
    source = plain_source(found, IdentitySource())
    records, _said = _static_restore.choose(found.manifest, ["s3"])
    work = _static_restore.make_work(records, {"s3": str(data)}, Here({}), "20261128T090000Z-0d0d")
    artifacts = found.manifest["artifacts"]
    return {
        "verify": lambda: _decode.decode(found.manifest, source, HERE, None),
        "bucket": lambda: authentik_s3_restore._read(found, source, "s3", decodes=True),
        "disk": lambda: _static_restore.restore(
            "check", work, lambda: DirectorySource(found.path, artifacts), pretend=False
        ),
    }


def test_the_whole_set_is_refused_by_nobody(made: Path, tmp_path: Path) -> None:
    store = open_store(str(made.parents[1]), INSTANCE)
    store.verify(store.get(made.name), NOW, record_it=False)
    for read in readers(store.get(made.name), tmp_path).values():
        read()


@pytest.mark.parametrize("name", list(KINDS))
def test_damaged_files_of_s3_are_refused_by_the_right_message(made: Path, tmp_path: Path, name: str) -> None:
    kind, data = KINDS[name], tmp_path / "data"
    folder = copy_of(made, tmp_path / INSTANCE / made.name)
    kind.make(folder)
    data.mkdir()
    store = open_store(str(tmp_path), INSTANCE)
    refusals, stage = [], LIST
    try:
        found = store.get(folder.name)
        stage = READ
        store.verify(found, NOW, record_it=False)
        stage = DECODE
    except IntegrityError as exc:
        refusals.append(exc)
    if stage == DECODE:
        for reader, read in readers(found, data).items():
            if reader == "disk" and name in corpus_objects.NOT_ON_A_DISK:
                continue
            with pytest.raises(IntegrityError) as refused:
                read()
            refusals.append(refused.value)
    assert stage == kind.stage, refusals
    for refusal in refusals:
        assert re.search(kind.says, refusal.cause, re.S), refusal.cause
        assert refusal.hint
    assert sorted(path.name for path in tmp_path.iterdir() if path.name not in (INSTANCE, "aside")) == ["data"]
    assert list(data.iterdir()) == []
