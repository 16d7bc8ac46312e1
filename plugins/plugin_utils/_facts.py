# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""What a manifest says about the instance and about the software that made it."""

from __future__ import annotations

import json
import os
import re
import typing as t

from ansible import release

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError

_KNOWN = ("deployment", "authentik_version", "train", "install_id_sha256", "secret_key_fingerprint")
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def instance_facts(name: str, given: dict[str, t.Any], components: dict[str, dict[str, t.Any]]) -> dict[str, t.Any]:
    """Return the manifest's C(instance): what the playbook gave, completed from the component records.

    :raises InputError: for a fact that the manifest has no place for.
    """
    unknown = sorted(set(given) - set(_KNOWN))
    if unknown:
        raise InputError("instance_facts holds %s" % ", ".join(unknown), "It may hold %s" % ", ".join(_KNOWN))
    facts: dict[str, t.Any] = {"name": name}
    for fact in _KNOWN:
        values = [given.get(fact), *(record.get(fact) for record in components.values())]
        facts[fact] = next((value for value in values if value), None)
    facts["deployment"] = facts["deployment"] or "host"
    version = facts["authentik_version"]
    if facts["train"] is None and version:
        match = re.match(r"\d{4}\.\d{1,2}", str(version.get("value")))
        facts["train"] = match.group(0) if match else None
    return facts


def created_by() -> dict[str, str]:
    """Return the versions of this collection and of ansible-core."""
    return {"collection": collection_version(), "ansible_core": str(release.__version__)}


def collection_version() -> str:
    """Return the version in MANIFEST.json (installed) or galaxy.yml (checkout); C(unknown) where neither is there."""
    try:
        with open(os.path.join(_ROOT, "MANIFEST.json"), encoding="utf-8") as manifest:
            return str(json.load(manifest)["collection_info"]["version"])
    except FileNotFoundError:
        pass
    try:
        with open(os.path.join(_ROOT, "galaxy.yml"), encoding="utf-8") as galaxy:
            match = re.search(r"^version:\s*[\"']?([^\s\"']+)", galaxy.read(), re.MULTILINE)
            return match.group(1) if match else "unknown"
    except FileNotFoundError:
        # The collection works when everything but its plugins was deleted.
        return "unknown"
