# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables of the roles: each is used, each is documented, and they say the same as the modules' options."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.authentik_ops.recovery.plugins.module_utils._module import CONSUMER_SPEC, INSTANCE_SPEC

ROOT = Path(__file__).resolve().parents[2]
ROLES = ("authentik", "backup", "list", "restore")


def documented(role: str) -> dict[str, Any]:
    """Return the variables in a role's argument specs."""
    text = (ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text()
    options: dict[str, Any] = yaml.safe_load(text)["argument_specs"]["main"]["options"]
    return options


def texts(*roles: str) -> str:
    """Return all that the roles do, without their documentation."""
    files = [
        path for role in roles for path in (ROOT / "roles" / role).rglob("*.*") if path.name != "argument_specs.yml"
    ]
    return "\n".join(path.read_text() for path in sorted(files) if path.is_file())


@pytest.mark.parametrize("role", ROLES)
def test_every_documented_variable_is_used(role: str) -> None:
    used = texts(role, "authentik")
    assert [name for name in documented(role) if not re.search(r"\b%s\b" % name, used)] == []


def test_every_used_variable_is_documented() -> None:
    known = {name for role in ROLES for name in documented(role)}
    playbooks = "\n".join(path.read_text() for path in (ROOT / "playbooks").glob("*.yml"))
    names = set(re.findall(r"(?<![._\w])authentik_\w+\b(?!\.\w)", texts(*ROLES) + playbooks))
    modules = {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")}
    assert names - known - modules - {"authentik_ops", "authentik_hosts"} == set()


def test_every_option_of_an_instance_has_its_variable() -> None:
    passed = yaml.safe_load((ROOT / "roles/authentik/vars/main.yml").read_text())["__authentik_instance_options"]
    assert set(passed) == set(INSTANCE_SPEC)
    for option, template in passed.items():
        name = option if option.startswith("authentik_") else "authentik_" + option
        assert template.startswith("{{ %s | default(" % name)


def test_variables_of_an_instance_have_the_type_of_the_option() -> None:
    specs = documented("authentik")
    for option, spec in {
        **INSTANCE_SPEC,
        **{k: CONSUMER_SPEC[k] for k in ("chunk_size", "window", "spool_dir")},
    }.items():
        variable = specs[option if option.startswith("authentik_") else "authentik_" + option]
        for key in ("type", "elements", "choices"):
            assert variable.get(key) == spec.get(key), option
        assert set(variable.get("options", {})) == set(spec.get("options", {}))
        assert variable.get("default", []) == (spec.get("default") or []), option


def test_defaults_are_what_is_documented() -> None:
    defaults = yaml.safe_load((ROOT / "roles/authentik/defaults/main.yml").read_text())
    for role in ("backup", "restore"):
        for name, spec in documented(role).items():
            if name in defaults and "default" in spec:
                assert defaults[name] == spec["default"], name
