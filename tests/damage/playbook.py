# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The same question to the playbook itself: one check run over many stores, each with a damage of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tests.damage.damages import Damage
from tests.damage.instance import copy_set
from tests.support.site import NAME, Site

#: Hosts whose set is whole: what is refused beside them is refused for its damage.
WHOLE = 2


def refusals(site: Site, made: Path, damages: Sequence[Damage]) -> list[str]:
    """Run ``restore.yml --check`` and return what it says of each damage, an empty text where it refuses nothing.

    :raises AssertionError: when sets that are whole are refused too.
    """
    (host,) = json.loads(site.controller.inventory.read_text())["authentik"]["hosts"].values()
    cases: list[Damage | None] = [None] * WHOLE + list(damages)
    hosts = {}
    for number, damage in enumerate(cases):
        store = site.root / "cases" / str(number)
        folder = copy_set(made, store)
        if damage is not None:
            path = folder / damage.path
            content = path.read_bytes()
            path.chmod(0o600)
            path.write_bytes(damage.of(content))
        hosts["case-%d" % number] = dict(
            host,
            authentik_store=str(store),
            authentik_allow_ephemeral_store=True,
            authentik_instance=NAME,
            authentik_backup_id=folder.name,
            authentik_components=[_component(damage.path)] if damage is not None else [],
        )
    inventory = site.root / "cases.json"
    inventory.write_text(json.dumps({"authentik": {"hosts": hosts}}))
    run = site.controller.playbook(
        "playbooks/restore.yml",
        check=True,
        options=["--inventory", str(inventory), "--forks", "2"],
        env={"ANSIBLE_PIPELINING": "true"},
        timeout=1800,
    )
    said = {result.host: str(result.result.get("msg", "")) for result in run.failures}
    refused = [name for name in list(hosts)[:WHOLE] if name in said]
    seen = {result.host for result in run.results}
    if refused or not seen.issuperset(hosts):
        raise AssertionError("a whole set was refused, or a host took no part: %s" % run.output[-5000:])
    return [said.get("case-%d" % (WHOLE + number), "") for number in range(len(damages))]


def _component(path: str) -> str:
    folder, _slash, name = path.rpartition("/")
    return name.partition(".")[0] if folder == "static" else folder or "certs"
