# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks from end to end: real PostgreSQL and Redis, real files, ansible-playbook run as a program."""

from __future__ import annotations

import json

import pytest

from tests.demo.instance import PASSWORD, SECRET_KEY, Picture
from tests.support.site import NAME, Site, differences

RESTORE_ID = "20261122T040000Z-1b2c"
ALL = {"postgresql", "media", "certs", "custom-templates", "blueprints", "redis", "config"}


@pytest.fixture(scope="module")
def before(site: Site) -> Picture:
    """What the instance held when its first set was made; leaves that set in the store."""
    picture = site.instance.picture()
    run = site.run("backup")
    assert run.ok, run.output
    return picture


def test_backup_saves_every_component_and_changes_nothing(site: Site, before: Picture) -> None:
    manifest = json.loads((site.sets()[0] / "manifest.json").read_text())
    assert set(manifest["components"]) == ALL
    assert manifest["instance"]["name"] == NAME
    assert manifest["instance"]["authentik_version"]["value"] == "2025.8.4"
    assert manifest["instance"]["secret_key_fingerprint"]
    assert differences(before, site.instance.picture()) == []


def test_no_secret_in_output_manifest_or_results(site: Site, before: Picture) -> None:
    run = site.run("backup", check=True)
    said = run.output + json.dumps([result.result for result in run.results])
    said += "".join(path.read_text() for path in site.store.rglob("*.json"))
    for secret in (SECRET_KEY, PASSWORD):
        assert secret not in said
        assert json.dumps(secret)[1:-1] not in said


def test_restore_brings_everything_back(site: Site, before: Picture) -> None:
    site.instance.disaster()
    run = site.run("restore")
    assert run.ok, run.output
    assert differences(before, site.instance.picture()) == []
