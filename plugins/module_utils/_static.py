# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The instance's directories: what is saved of them, and the archives themselves."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _mounts, _tar, _tar_codec, _tree
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError, StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_names import content_rule
from ansible_collections.authentik_ops.recovery.plugins.module_utils._tree_digest import TreeDigest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import DirectorySink
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._spool_sink import SpoolSink

DIRECTORIES = ("media", "data", "certs", "custom-templates", "blueprints")
#: Without these an instance that keeps its uploads in files is not whole.
UPLOADS = ("media", "data")

_EXTRA = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Target(NamedTuple):
    """A directory to save.

    :ivar required: its absence is an error rather than a warning.
    :ivar inside: component whose directory holds this one, which is saved and restored with it; else empty.
    """

    component: str
    path: str
    source: str
    required: bool
    inside: str = ""


def choose_targets(
    known: Iterable[tuple[str, str, str]],
    storage_backend: str | None,
    extra_paths: dict[str, str],
    components: list[str] | None,
    missing: str,
) -> list[Target]:
    """Which directories to save, in order.

    :param known: (component, path, where the path was learnt from) of the instance's directories.
    :param extra_paths: name -> path of further directories, component ``extra-<name>``.
    :param components: the ones to save; None for all.
    :param missing: ``auto``, ``error`` or ``warn``: what a missing directory is.
    :raises InputError: an unknown component, an extra name that cannot be one, or a relative path.
    """
    found = list(known)
    for name, path in sorted(extra_paths.items()):
        if not _EXTRA.fullmatch(name):
            raise InputError(
                "extra_paths: %r cannot name a component" % name,
                "Use letters, digits, '.', '_' and '-', beginning with a letter or digit",
            )
        found.append(("extra-" + name, path, "option extra_paths"))
    for component, path, source in found:
        if not os.path.isabs(path):
            raise InputError("The path of %s is %r, which is not absolute (%s)" % (component, path, source))
    if components is not None:
        _check_wanted(components, [component for component, _path, _source in found])
        found = [item for item in found if item[0] in components]
    return [
        Target(component, os.path.normpath(path), source, _is_required(component, storage_backend, missing))
        for component, path, source in found
    ]


def _is_required(component: str, storage_backend: str | None, missing: str) -> bool:
    if missing != "auto":
        return missing == "error"
    if component in UPLOADS:
        return storage_backend != "s3"
    return component.startswith("extra-")


def _check_wanted(components: list[str], found: list[str]) -> None:
    for component in components:
        if component in found:
            continue
        if component in DIRECTORIES:
            raise InputError(
                "The instance has no directory %s that could be found" % component,
                "Give its path with directories: {%s: /path}" % component.replace("-", "_"),
            )
        raise InputError(
            "There is no component %s among the directories" % component,
            "Known here: %s" % ", ".join(found or ["none"]),
        )


def nest(targets: list[Target]) -> list[Target]:
    """Mark directories that lie within another one to save: one archive, and one swap, serves both."""
    marked = []
    for index, target in enumerate(targets):
        inside = ""
        for other_index, other in enumerate(targets):
            same = target.path == other.path and other_index < index
            if same or target.path.startswith(other.path.rstrip("/") + "/"):
                inside = other.component
                break
        marked.append(target._replace(inside=inside))
    return marked


def save(
    target: Target,
    sink: DirectorySink | SpoolSink | None,
    compression: str,
    previous: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Save one directory and return its component record.

    ``state`` in the record: ``saved`` (one artifact), ``linked`` (``unchanged`` since the set named by ``linked``:
    nothing streamed), ``inside`` (saved with another), ``missing`` or, without a sink, ``found`` (only looked at).

    :param sink: None to look only, without reading any content.
    :param compression: ``zstd`` or ``gzip``.
    :param previous: ``{"digest", "set"}`` of the last verified set; an equal tree is not sent again.
    :raises InputError: a file in the directory's place, or a device node in it.
    :raises StateError: a required directory is missing, or something in it cannot be read or keeps changing.
    """
    record: dict[str, Any] = {
        "component": target.component,
        "path": target.path,
        "source": target.source,
        "artifacts": [],
        "warnings": [],
    }
    if target.inside:
        return dict(record, state="inside", inside=target.inside)
    trouble = find_trouble(target.path)
    if trouble:
        if target.required:
            raise StateError(
                "%s: %s" % (target.component, trouble),
                "If that is right, say so with missing: warn; else give the right path with directories",
                "ls -ld %s" % target.path,
            )
        record["warnings"].append("%s: %s; it is not in this backup" % (target.component, trouble))
        return dict(record, state="missing")
    root = os.path.realpath(target.path)
    if root != target.path:
        record["real_path"] = root
    info = os.stat(root)
    record["owner"] = {"uid": info.st_uid, "gid": info.st_gid, "mode": "%04o" % stat.S_IMODE(info.st_mode)}
    if sink is None:
        facts = _look(root)
        facts["state"] = "found"
    else:
        facts = _unchanged(root, previous) or _send(root, target.component, sink, compression)
    facts["warnings"] = record["warnings"] + facts["warnings"]
    if facts["fingerprint"]["files"] == 0:
        facts["warnings"].append("%s: %s holds no files" % (target.component, target.path))
    return dict(record, **facts)


def _look(root: str) -> dict[str, Any]:
    findings, digest = _tree.Findings(root), TreeDigest()
    fd = _tree.open_root(root)
    try:
        for node in _tree.walk(fd, findings, read=False, leave=content_rule(root)):
            if node.link_to is None:
                digest.add(node.entry)
            else:
                digest.add_name(node.entry.path, node.link_to)
    finally:
        os.close(fd)
    return _facts(findings, dict(digest.counts))


def _unchanged(root: str, previous: dict[str, Any] | None) -> dict[str, Any] | None:
    if not previous:
        return None
    findings, digest = digest_tree(root, content_rule(root))
    if digest["digest"] != previous["digest"]:
        return None
    return dict(_facts(findings, digest), state="linked", unchanged=True, linked=previous["set"])


def digest_tree(root: str, leave: _tree.Leave | None = None) -> tuple[_tree.Findings, dict[str, Any]]:
    """Read a whole tree and return what was found and its fingerprint.

    :param leave: what of it is no content; of a live directory, ``content_rule`` of it.
    """
    return again_when_changed(root, lambda findings, digest: _write(root, _Nowhere(), findings, digest, leave))


def _send(root: str, component: str, sink: DirectorySink | SpoolSink, compression: str) -> dict[str, Any]:
    path = "static/%s.%s" % (component, _tar_codec.SUFFIXES[compression])
    artifact: dict[str, Any] = {"path": path, "compression": compression, "tool": None}

    def attempt(findings: _tree.Findings, digest: TreeDigest) -> None:
        with sink.artifact(path) as out, _tar_codec.compressor(out, compression) as packer:
            _write(root, packer, findings, digest, content_rule(root))
        artifact.update(size=out.size, sha256=out.sha256)

    findings, fingerprint = again_when_changed(root, attempt)
    return dict(_facts(findings, fingerprint), state="saved", artifacts=[artifact])


def again_when_changed(
    root: str, attempt: Callable[[_tree.Findings, TreeDigest], None], key: bytes | None = None
) -> tuple[_tree.Findings, dict[str, Any]]:
    """Call ``attempt(findings, digest)`` until nothing changed under it; what was found, and the fingerprint.

    :raises StateError: something changed each of ``TRIES`` times.
    """
    said: list[str] = []
    last = root
    for _number in range(_tree.TRIES):
        findings, digest = _tree.Findings(root), TreeDigest()
        try:
            attempt(findings, digest)
        except _tree.ChangedWhileRead as exc:
            said.append("%s changed while it was read; the whole directory was read again" % exc.path)
            last = exc.path
            continue
        findings.warnings[:0] = sorted(set(said))
        return findings, digest.fingerprint(key)
    raise StateError(
        "%s changed while it was read, %d times in a row" % (last, _tree.TRIES),
        "Something writes to it all the time; stop that writer, or back up while authentik is stopped",
    )


def _write(
    root: str, out: _tar.Writable, findings: _tree.Findings, digest: TreeDigest, leave: _tree.Leave | None
) -> None:
    writer = _tar.TarWriter(out, digest)
    fd = _tree.open_root(root)
    try:
        for node in _tree.walk(fd, findings, leave=leave):
            writer.add(node)
    finally:
        os.close(fd)
    writer.finish()


class _Nowhere:
    def write(self, data: bytes, /) -> int:
        return len(data)


def _facts(findings: _tree.Findings, fingerprint: dict[str, Any]) -> dict[str, Any]:
    return {
        "fingerprint": fingerprint,
        "warnings": list(findings.warnings),
        "outside_links": findings.outside_links,
    }


def find_trouble(path: str) -> str:
    """Why there is nothing to save at a path, as a part of a sentence; empty when there is.

    :raises InputError: something else than a directory is there.
    """
    try:
        info = os.stat(path)
    except FileNotFoundError:
        if os.path.islink(path):
            return "%s is a symbolic link to %s, which does not exist" % (path, os.readlink(path))
        return "%s does not exist" % path
    except OSError as exc:
        raise StateError(
            "%s cannot be looked at: %s" % (path, exc.strerror), "Run the task with become: true", "ls -ld %s" % path
        ) from exc
    if not stat.S_ISDIR(info.st_mode):
        raise InputError("%s is not a directory" % path, "Give the right path with directories", "ls -ld %s" % path)
    if os.access(path, os.R_OK | os.X_OK) and not os.listdir(path):
        place = _mounts.missing_mount(os.path.realpath(path))
        if place:
            return "%s is empty, and /etc/fstab has a file system for %s that is not mounted" % (path, place)
    return ""
