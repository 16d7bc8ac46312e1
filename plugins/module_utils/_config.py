# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The configuration: every file without which the instance could not be rebuilt, in one archive.

The manifest must not help anybody to guess what these files hold. A plain checksum of a small file with one short
password in it would: each guess costs one hash. So the manifest has no checksum of any single file, and the tree
digest is an HMAC whose random key travels inside the archive (in its global header, which also makes the archive's
own checksum unguessable). Who can read the archive needs to guess nothing; who can only read the manifest learns
nothing. The secret key's fingerprint is salted and slow for the same reason.

What is made up for the archive, and was no file of the host, lies in it below ``.authentik-recovery/``. It is there to
be read, and is never laid down.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import os
import stat
import time
from typing import TYPE_CHECKING

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _static, _tar, _tar_codec, _tree
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    DiscoveryError,
    InputError,
    IntegrityError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._tree_digest import Entry, TreeDigest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import DirectorySink
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._spool_sink import SpoolSink

ALGORITHM = "pbkdf2_hmac_sha256"
ITERATIONS = 600_000

#: The folder of an archive that holds what was no file of the host.
GENERATED = b".authentik-recovery"

_KEY_BYTES = 32
_MAX_LINKS = 40
#: Read-only and rebuilt from a description that lies elsewhere.
_REBUILT = "/nix/store/"


def fingerprint_secret_key(key: str) -> dict[str, Any]:
    """A slow, salted hash by which a key can be recognised but hardly guessed."""
    salt = os.urandom(16)
    return {
        "algorithm": ALGORITHM,
        "salt": salt.hex(),
        "iterations": ITERATIONS,
        "digest": _slow_hash(key, salt, ITERATIONS),
    }


def compare_secret_key(fingerprint: dict[str, Any] | None, key: str | None) -> str:
    """``same``, ``different``, or ``unknown`` when either is not known."""
    if not fingerprint or not key or fingerprint["algorithm"] != ALGORITHM:
        return "unknown"
    found = _slow_hash(key, bytes.fromhex(fingerprint["salt"]), fingerprint["iterations"])
    return "same" if hmac.compare_digest(found, fingerprint["digest"]) else "different"


def _slow_hash(key: str, salt: bytes, iterations: int) -> str:
    return hashlib.pbkdf2_hmac("sha256", key.encode("utf-8", "surrogateescape"), salt, iterations).hex()


def archive_key(comment: str) -> bytes:
    """The tree digest's key, from the archive's global header.

    :raises IntegrityError: there is none.
    """
    try:
        key = bytes.fromhex(comment)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise IntegrityError("The configuration's archive lacks the key of its digest", "Choose another backup set")
    return key


def is_generated(path: bytes) -> bool:
    """Whether a member of the archive was no file of the host."""
    return path == GENERATED or path.startswith(GENERATED + b"/")


def locate(path: str, read_link: Callable[[str], str | None]) -> tuple[list[str], str]:
    """The symbolic links on the way to a path, each by its own real name, and the real name of what they lead to.

    :param read_link: the target of a link, None for anything else.
    :raises StateError: the links go round in a circle.
    """
    links: list[str] = []
    rest, here = path.split("/"), "/"
    while rest:
        part = rest.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            here = os.path.dirname(here)
            continue
        place = os.path.join(here, part)
        target = read_link(place)
        if target is None:
            here = place
            continue
        if len(links) == _MAX_LINKS:
            raise StateError("%s leads through too many symbolic links" % path, "", "ls -l %s" % path)
        links.append(place)
        rest = target.split("/") + rest
        if target.startswith("/"):
            here = "/"
    return links, here


def survey(files: Iterable[tuple[str, str]]) -> tuple[list[dict[str, str]], list[str], list[str]]:
    """Look for the files.

    :param files: (path, kind).
    :returns: ``{"path", "kind"}`` of those that are there, with ``"real"`` where links lead to another name; the real
        names of all files and links to save; warnings.
    """
    found: list[dict[str, str]] = []
    names: set[str] = set()
    warnings = []
    for path, kind in files:
        links, real = locate(path, _read_link)
        if real.startswith(_REBUILT):
            warnings.append("%s leads to %s, which is generated; only the link is in this backup" % (path, real))
            names.update(link for link in links if not link.startswith(_REBUILT))
            continue
        if real.startswith("/" + os.fsdecode(GENERATED) + "/"):
            raise InputError("%s lies where the archive keeps what is no file of the host" % path, "Move it elsewhere")
        what = _why_not(real)
        if what:
            warnings.append("%s (%s) %s; it is not in this backup" % (path, kind, what))
            continue
        found.append({"path": path, "kind": kind, **({"real": real} if real != path else {})})
        names.update(links)
        names.add(real)
    return found, sorted(names), warnings


def _why_not(path: str) -> str:
    """Why a file cannot be saved; empty when it can."""
    try:
        info = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "does not exist"
    except OSError as exc:
        raise StateError(
            "%s cannot be looked at: %s" % (path, exc.strerror), "Run the task with become: true", "ls -l %s" % path
        ) from exc
    return "" if stat.S_ISREG(info.st_mode) else "is not a regular file"


def _read_link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def save(
    files: Iterable[tuple[str, str]],
    secret_key: str | None,
    sink: DirectorySink | SpoolSink | None,
    compression: str,
    generated: dict[str, bytes] | None = None,
) -> dict[str, Any]:
    """Save the configuration and return its component record.

    :param sink: None to look only.
    :param generated: what is saved besides the files, by its name below ``.authentik-recovery/``.
    :raises DiscoveryError: there is nothing to save at all.
    :raises StateError: a file cannot be read.
    """
    found, names, warnings = survey(files)
    if not found and not generated:
        raise DiscoveryError(
            "No configuration file of this instance was found",
            "Name them with config_paths (YAML) or env_files (environment variables)",
        )
    record: dict[str, Any] = {
        "component": "config",
        "artifacts": [],
        "files": found,
        "secret_key_fingerprint": fingerprint_secret_key(secret_key) if secret_key else None,
    }
    if not secret_key:
        warnings.append("authentik's secret key was not found; give it, or name the file that holds it")
    if sink is None:
        return dict(record, warnings=warnings)
    path = "config/config.%s" % _tar_codec.SUFFIXES[compression]
    artifact: dict[str, Any] = {"path": path, "compression": compression, "tool": None}
    key = os.urandom(_KEY_BYTES)
    holders: list[bool] = []

    def attempt(findings: _tree.Findings, digest: TreeDigest) -> None:
        del holders[:]
        with sink.artifact(path) as out, _tar_codec.compressor(out, compression) as packer:
            writer = _tar.TarWriter(packer, digest, comment=key.hex())
            for node in itertools.chain(_nodes(names, findings), _made_up(generated or {})):
                try:
                    writer.add(node)
                finally:
                    node.close()
                if not is_generated(node.entry.path):
                    holders.append(bool(secret_key) and str(secret_key).encode() in node.data)
            writer.finish()
        artifact.update(size=out.size, sha256=out.sha256)

    findings, fingerprint = _static.again_when_changed("/", attempt, key)
    if secret_key and not any(holders):
        warnings.append("None of the saved files holds authentik's secret key as it is; keep it in another safe place")
    warnings += findings.warnings
    return dict(
        record, artifacts=[artifact], fingerprint=fingerprint, outside_links=findings.outside_links, warnings=warnings
    )


def _made_up(generated: dict[str, bytes]) -> Iterator[_tree.Node]:
    """The folder of generated members, and these."""
    owner, now = (os.geteuid(), os.getegid()), time.time_ns()
    if generated:
        yield _tree.Node(Entry(GENERATED, "d", 0o700, *owner, now, 0, b"", ()), os.fsdecode(GENERATED))
    for name, data in sorted(generated.items()):
        path = GENERATED + b"/" + os.fsencode(name)
        yield _tree.Node(Entry(path, "f", 0o600, *owner, now, len(data), b"", ()), os.fsdecode(path), data=data)


def _nodes(names: list[str], findings: _tree.Findings) -> Iterable[_tree.Node]:
    """The root, then every folder on the way to the files, and the files and links themselves."""
    paths = {os.fsencode(name).strip(b"/") for name in names}
    for path in list(paths):
        parts = path.split(b"/")
        paths.update(b"/".join(parts[:count]) for count in range(1, len(parts)))
    root = _tree.open_root("/")
    try:
        yield _tree.root_node(root, findings)
        for path in sorted(paths, key=lambda path: path.split(b"/")):
            parent_fd = _tree.open_folder(root, path.rpartition(b"/")[0])
            try:
                # Each name gets its own content, also where two are one file: they are restored one by one.
                node = _tree.visit(parent_fd, path.rpartition(b"/")[2], path, findings, {})
            finally:
                os.close(parent_fd)
            if node is None:
                raise StateError("/%s went away while it was read" % os.fsdecode(path), "Run the backup again")
            yield node
    finally:
        os.close(root)
