# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The manifest of a backup set: what it must hold to be believed.

C(docs/manifest.schema.json) describes the same shape for other programs.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import os
import re
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError, IntegrityError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import check_id, format_utc, parse_utc

FORMAT = 1
MANIFEST_NAME = "manifest.json"
SUMS_NAME = "SHA256SUMS"
#: Of an encrypted set: the manifest's checksum, encrypted like the artifacts.
SEAL_NAME = "manifest.sha256.age"
#: How the set is restored by hand. Sets of the first versions have none.
RESTORE_NAME = "RESTORE.md"
#: The purpose of a set that was made of what a restore replaced.
SAFETY = "safety"
COMPRESSIONS = ("none", "zstd", "gzip", "pg_dump:zstd", "pg_dump:gzip")
AGE = "age"
#: What an encrypted artifact's name has after that of its content.
AGE_SUFFIX = ".age"
ENCRYPTIONS = ("none", AGE)

_COMPONENT = re.compile(
    r"postgresql|redis|media|data|certs|custom-templates|blueprints|config|s3|extra-[A-Za-z0-9._-]+"
)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NUMBER = (int, float)
_TOP = {
    "format": int,
    "id": str,
    "instance": dict,
    "started": str,
    "finished": str,
    "seconds": _NUMBER,
    "created_by": dict,
    "artifacts": list,
    "components": dict,
}
_INSTANCE = {
    "name": str,
    "deployment": str,
    "authentik_version": (dict, type(None)),
    "train": (str, type(None)),
    "install_id_sha256": (str, type(None)),
    "secret_key_fingerprint": (dict, type(None)),
}
_ARTIFACT = {
    "path": str,
    "component": str,
    "size": int,
    "sha256": str,
    "plain_size": int,
    "plain_sha256": str,
    "compression": str,
    "encryption": str,
    "linked_from": (str, type(None)),
    "tool": (str, type(None)),
    "seconds": _NUMBER,
    "bytes_per_second": _NUMBER,
}
_COMPOSE = {"name": str, "directory": str, "files": list, "env_files": list, "profiles": list, "images": list}
_IMAGE = {"service": str, "reference": str, "id": str, "digests": list}
_SECRET_KEY = {"algorithm": str, "salt": str, "iterations": int, "digest": str}


def build(
    set_id: str,
    instance: dict[str, t.Any],
    started: datetime.datetime,
    finished: datetime.datetime,
    created_by: dict[str, str],
    artifacts: list[dict[str, t.Any]],
    components: dict[str, dict[str, t.Any]],
    restore_id: str = "",
) -> dict[str, t.Any]:
    """Return a valid manifest.

    :param instance: as in the schema; facts that are not known may be left out and become null.
    :param restore_id: the restore before which the set was made, which makes it a safety set; empty for a backup.
    :raises IntegrityError: when the parts do not make a valid manifest.
    """
    known = dict.fromkeys(_INSTANCE)
    known.update(instance)
    return validate(
        {
            "format": FORMAT,
            "id": set_id,
            "instance": known,
            "started": format_utc(started),
            "finished": format_utc(finished),
            "seconds": round((finished - started).total_seconds(), 3),
            "created_by": created_by,
            "artifacts": sorted(artifacts, key=lambda artifact: artifact["path"]),
            "components": components,
            **({"purpose": SAFETY, "restore_id": restore_id} if restore_id else {}),
        }
    )


def dump(manifest: dict[str, t.Any]) -> bytes:
    """Return the manifest as it lies in the store."""
    return (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode("ascii")


def load(text: t.Union[str, bytes]) -> dict[str, t.Any]:
    """Return the validated manifest from its JSON text.

    :raises IntegrityError: broken JSON, a newer format, or a shape that is not the schema's.
    """
    try:
        manifest = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as exc:
        raise IntegrityError("The manifest is not valid JSON: %s" % exc, "The set is damaged: use another one") from exc
    return validate(manifest)


def _no_number(text: str) -> t.NoReturn:
    raise ValueError("it holds %s" % text)


def validate(manifest: t.Any) -> dict[str, t.Any]:
    """Return the manifest unchanged when every rule of the schema holds.

    :raises IntegrityError: naming the first field that breaks one.
    """
    if not isinstance(manifest, dict):
        raise _invalid("it is not an object")
    _check_format(manifest)
    _check_fields(manifest, _TOP, "")
    try:
        check_id(manifest["id"])
        parse_utc(manifest["started"])
        parse_utc(manifest["finished"])
    except (InputError, ValueError) as exc:
        raise _invalid(str(exc)) from exc
    _check_purpose(manifest)
    _check_instance(manifest["instance"])
    _check_fields(manifest["created_by"], {"collection": str, "ansible_core": str}, "created_by.")
    seen: set[str] = set()
    for index, artifact in enumerate(manifest["artifacts"]):
        _check_artifact(artifact, "artifacts[%d]." % index, seen)
        if artifact["component"] not in manifest["components"]:
            raise _invalid(
                "artifact %s belongs to component %s, which is not listed" % (artifact["path"], artifact["component"])
            )
    _check_recipients(manifest["artifacts"])
    _check_instructions(manifest)
    for name, record in manifest["components"].items():
        _check_component(name, record, seen)
    return manifest


def recipients_of(manifest: dict[str, t.Any]) -> list[str]:
    """Return the public keys that all artifacts of the set are encrypted to; none for a plain set."""
    artifacts = manifest["artifacts"]
    return list(artifacts[0].get("recipients", [])) if artifacts else []


def plain_view(manifest: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return the manifest as it would be without encryption: what the host sees, to which plain bytes are sent."""
    if not recipients_of(manifest):
        return manifest
    artifacts = []
    for artifact in manifest["artifacts"]:
        plain = {name: value for name, value in artifact.items() if name != "recipients"}
        plain.update(path=plain_path(artifact["path"]), encryption="none")
        plain.update(size=artifact["plain_size"], sha256=artifact["plain_sha256"])
        artifacts.append(plain)
    components = {
        name: dict(record, artifacts=[dict(one, path=plain_path(one["path"])) for one in record["artifacts"]])
        for name, record in manifest["components"].items()
    }
    return dict(manifest, artifacts=artifacts, components=components)


def plain_path(path: str) -> str:
    """Return the path that an encrypted artifact would have without encryption."""
    return path[: -len(AGE_SUFFIX)]


def sums_line(data: bytes, name: str) -> bytes:
    """Return the line of C(SHA256SUMS) for a file with this content."""
    return ("%s  %s\n" % (hashlib.sha256(data).hexdigest(), name)).encode("utf-8")


def sums_text(text: bytes, manifest: dict[str, t.Any], seal: bytes = b"") -> bytes:
    """Return what C(sha256sum -c) accepts; paths have no character that it would escape.

    The manifest comes first: wherever the list is cut off, its line is not what is missing.

    :param text: the manifest as it lies in the store.
    :param manifest: what it says.
    :param seal: what its seal holds; empty for a plain set.
    """
    instructions = [manifest["instructions"]] if "instructions" in manifest else []
    lines = ["%s  %s\n" % (entry["sha256"], entry["path"]) for entry in [*instructions, *manifest["artifacts"]]]
    own = sums_line(text, MANIFEST_NAME) + (sums_line(seal, SEAL_NAME) if seal else b"")
    return own + "".join(lines).encode("utf-8")


def check_sums(folder: str, text: bytes, manifest: dict[str, t.Any], sums: bytes, seal: bytes = b"") -> None:
    """Compare the manifest in a folder, and the checksums that it records, with C(SHA256SUMS) beside it.

    Without a line for the manifest, as the first sets were written, only the artifacts' checksums are compared.

    :param text: the manifest as it was read.
    :param manifest: what it says.
    :param sums: what C(SHA256SUMS) holds.
    :param seal: as in :func:`sums_text`.
    :raises IntegrityError: when one of the two files was altered.
    """
    expected = sums_text(text, manifest, seal)
    head, rest = (part.partition(b"\n") for part in (expected, sums))
    if sums == expected or (sums == head[2] != b"" and not seal):
        return
    if seal and sums_line(seal, SEAL_NAME) not in sums:
        raise IntegrityError(
            "%s has not the SHA-256 that %s says" % (os.path.join(folder, SEAL_NAME), SUMS_NAME),
            "One of the two files was altered after it was saved: use another backup set",
        )
    if rest[2] == head[2]:
        raise IntegrityError(
            "%s has SHA-256 %s; %s says %s"
            % (
                os.path.join(folder, MANIFEST_NAME),
                head[0][:64].decode("ascii"),
                SUMS_NAME,
                rest[0][:64].decode("ascii", "replace"),
            ),
            "One of the two files was altered after it was saved: use another backup set",
        )
    raise IntegrityError(
        "%s does not say what the manifest says" % os.path.join(folder, SUMS_NAME),
        "One of the two files was altered after it was saved: use another backup set",
    )


def check_artifact_path(path: str) -> str:
    """Return a relative artifact path such as C(postgresql/authentik.dump) unchanged.

    :raises InputError: when it could leave the set's folder or collide with the set's own files.
    """
    parts = path.split("/")
    bad = any(part in ("", ".", "..") or part.startswith(".") for part in parts)
    if bad or len(parts) < 2 or any(ord(char) < 32 or char == "\\" or "\ud800" <= char <= "\udfff" for char in path):
        raise InputError(
            "%r cannot be the path of an artifact" % path,
            "It has to be '<folder>/<name>' inside the set, without '..', leading '.' or control characters",
        )
    return path


def artifacts_of(manifest: dict[str, t.Any], component: str) -> list[dict[str, t.Any]]:
    """Return the artifact records of one component, in the manifest's order."""
    return [artifact for artifact in manifest["artifacts"] if artifact["component"] == component]


def _check_format(manifest: dict[str, t.Any]) -> None:
    found = manifest.get("format")
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise _invalid("its format is %r" % (found,))
    if found > FORMAT:
        made_by = manifest.get("created_by")
        version = made_by.get("collection") if isinstance(made_by, dict) else None
        raise IntegrityError(
            "The manifest has format %d; this version of authentik_ops.recovery reads up to %d" % (found, FORMAT),
            "The set was made by authentik_ops.recovery %s: install that version or later" % (version or "(newer)"),
            "ansible-galaxy collection install --upgrade authentik_ops.recovery",
        )


def _check_purpose(manifest: dict[str, t.Any]) -> None:
    if "purpose" not in manifest:
        return
    _check_fields(manifest, {"purpose": str}, "")
    if manifest["purpose"] != SAFETY:
        return
    _check_fields(manifest, {"restore_id": str}, "")
    try:
        check_id(manifest["restore_id"])
    except InputError as exc:
        raise _invalid("restore_id: %s" % exc.cause) from exc


def _check_instance(instance: dict[str, t.Any]) -> None:
    _check_fields(instance, _INSTANCE, "instance.")
    if instance["authentik_version"] is not None:
        _check_fields(instance["authentik_version"], {"value": str, "source": str}, "instance.authentik_version.")
    if instance["secret_key_fingerprint"] is not None:
        _check_fields(instance["secret_key_fingerprint"], _SECRET_KEY, "instance.secret_key_fingerprint.")


def _check_artifact(artifact: t.Any, where: str, seen: set[str]) -> None:
    if not isinstance(artifact, dict):
        raise _invalid("%s is not an object" % where.rstrip("."))
    _check_fields(artifact, _ARTIFACT, where)
    try:
        check_artifact_path(artifact["path"])
        if artifact["linked_from"] is not None:
            check_id(artifact["linked_from"])
    except InputError as exc:
        raise _invalid("%s%s" % (where, exc.cause)) from exc
    if artifact["path"] in seen:
        raise _invalid("artifact %s is listed twice" % artifact["path"])
    seen.add(artifact["path"])
    for field in ("size", "plain_size"):
        if artifact[field] < 0:
            raise _invalid("%s%s is negative" % (where, field))
    for field in ("sha256", "plain_sha256"):
        if not _SHA256.fullmatch(artifact[field]):
            raise _invalid("%s%s is not a SHA-256" % (where, field))
    for field, values in (("compression", COMPRESSIONS), ("encryption", ENCRYPTIONS)):
        if artifact[field] not in values:
            raise _invalid("%s%s is %r, not one of %s" % (where, field, artifact[field], ", ".join(values)))
    if artifact["encryption"] == AGE:
        _check_encrypted(artifact, where)


def _check_encrypted(artifact: dict[str, t.Any], where: str) -> None:
    _check_fields(artifact, {"recipients": list}, where)
    if not artifact["recipients"] or not all(isinstance(key, str) and key for key in artifact["recipients"]):
        raise _invalid("%srecipients does not hold public keys" % where)
    if not artifact["path"].endswith(AGE_SUFFIX):
        raise _invalid("%s is encrypted, and its name does not end in %s" % (artifact["path"], AGE_SUFFIX))


def _check_recipients(artifacts: list[dict[str, t.Any]]) -> None:
    """Refuse a set of which only a part is encrypted, or parts to different keys: no backup makes one."""
    found = [(artifact["encryption"], artifact.get("recipients")) for artifact in artifacts]
    if any(one != found[0] for one in found):
        raise _invalid("its artifacts are not all encrypted to the same recipients")


def _check_instructions(manifest: dict[str, t.Any]) -> None:
    if "instructions" not in manifest:
        return
    _check_fields(manifest, {"instructions": dict}, "")
    found = manifest["instructions"]
    _check_fields(found, {"path": str, "size": int, "sha256": str}, "instructions.")
    if found["path"] != RESTORE_NAME or found["size"] < 0 or not _SHA256.fullmatch(found["sha256"]):
        raise _invalid("instructions are no record of %s" % RESTORE_NAME)


def _check_component(name: str, record: t.Any, paths: set[str]) -> None:
    where = "components.%s" % name
    if not _COMPONENT.fullmatch(name):
        raise _invalid("%r is not the name of a component" % name)
    if not isinstance(record, dict) or record.get("component") != name:
        raise _invalid("%s is not a record of that component" % where)
    if not isinstance(record.get("artifacts"), list):
        raise _invalid("%s.artifacts is missing or not a list" % where)
    for artifact in record["artifacts"]:
        if not isinstance(artifact, dict) or artifact.get("path") not in paths:
            raise _invalid("%s names an artifact that is not listed: %r" % (where, artifact))
    if "compose" in record:
        _check_compose(record["compose"], where + ".compose")


def _check_compose(project: t.Any, where: str) -> None:
    if not isinstance(project, dict):
        raise _invalid("%s is not an object" % where)
    _check_fields(project, _COMPOSE, where + ".")
    for field in ("files", "env_files", "profiles"):
        if not all(isinstance(item, str) for item in project[field]):
            raise _invalid("%s.%s does not hold texts alone" % (where, field))
    for index, image in enumerate(project["images"]):
        if not isinstance(image, dict):
            raise _invalid("%s.images[%d] is not an object" % (where, index))
        _check_fields(image, _IMAGE, "%s.images[%d]." % (where, index))


def _check_fields(value: dict[str, t.Any], fields: dict[str, t.Any], where: str) -> None:
    for name, kind in fields.items():
        if name not in value:
            raise _invalid("%s%s is missing" % (where, name))
        if not isinstance(value[name], kind) or (isinstance(value[name], bool) and kind is not bool):
            raise _invalid("%s%s is %s" % (where, name, type(value[name]).__name__))
        if isinstance(value[name], float) and not math.isfinite(value[name]):
            raise _invalid("%s%s is no finite number" % (where, name))


def _invalid(reason: str) -> IntegrityError:
    return IntegrityError("The manifest is not valid: %s" % reason, "The set is damaged: use another one")
