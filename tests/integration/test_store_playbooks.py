# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks that look after a store, on stores without an instance."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _notes
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import Store, open_store
from tests.support.playbook import Controller, Run
from tests.support.site import shown
from tests.support.store import NOW, publish


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return open_store(str(tmp_path / "store"), "sso")


def play(controller: Controller, store: Store, name: str, check: bool = False, **variables: Any) -> Run:
    """Run a playbook; the variables are given without the prefix C(authentik_)."""
    given = {"authentik_" + key: value for key, value in {"store": store.root, **variables}.items()}
    return controller.playbook("playbooks/%s.yml" % name, given, check=check)


def test_list_says_what_was_proved_of_each_set_and_what_is_pinned(controller: Controller, store: Store) -> None:
    never, checked, failed = publish(store), publish(store), publish(store)
    Path(never.path + ".verified.json").unlink()
    store.pin(checked.set_id, "before the upgrade", NOW)
    store.record(checked, _notes.new_check("decode", NOW, checked.manifest_sha256, "no pg_restore", unproved=True))
    store.record(failed, _notes.new_check("decode", NOW, failed.manifest_sha256, "it does not decode"))
    run = play(controller, store, "list")
    assert run.ok, run.output
    lines = {line.split()[0].rstrip(":"): line for line in shown(run).splitlines() if line.strip()}
    assert " never " in lines[never.set_id]
    assert lines[never.set_id].endswith("media postgresql")
    assert " checksums 2026-11-22T03:15:00Z " in lines[checked.set_id]
    assert lines[checked.set_id].endswith("(pinned: before the upgrade; decode could not be verified)")
    assert lines[failed.set_id].endswith("Its last verification failed: it does not decode")


def test_copy_copies_what_it_can_and_fails_for_the_rest(controller: Controller, store: Store, tmp_path: Path) -> None:
    damaged, good = publish(store), publish(store, now=NOW + datetime.timedelta(days=1))
    other = open_store(store.root, "other")
    (Path(damaged.path) / "static/media.tar.zst").unlink()
    to = open_store(str(tmp_path / "copies"), "sso")
    given: dict[str, Any] = {"copy_to": to.root, "copy_sets": ["all"], "allow_ephemeral_store": True}
    run = play(controller, store, "copy", **given)
    assert not run.ok
    said = run.message
    assert "1 set could not be copied: %s: The artifact" % damaged.set_id in said
    assert "Next: ansible-playbook authentik_ops.recovery.list" in said
    assert "sso: not everything was copied" in shown(run)
    assert [one.set_id for one in to.list_sets()[0]] == [good.set_id]
    # Of the instance that is named, and no other.
    other.backend.make()
    run = play(controller, store, "copy", instance="other", **given)
    assert run.ok, run.output
    assert shown(run).startswith("other: 0 sets copied")


def test_copy_of_a_store_that_holds_nothing_is_no_success(controller: Controller, store: Store, tmp_path: Path) -> None:
    Path(store.root).mkdir()
    run = play(controller, store, "copy", copy_to=str(tmp_path / "copies"))
    assert not run.ok
    assert "nothing would be copied" in run.message
    assert not (tmp_path / "copies").exists()
