# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Decodes every artifact of a set to its end and compares what comes out with the fingerprints, without any instance.

It proves what the first step of a restore proves, wherever the programs are: none of it is written anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.authentik_ops.recovery.plugins.module_utils import (
    _config,
    _object_index,
    _process,
    _static_restore,
    _tar_codec,
    _tar_extract,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    IntegrityError,
    StateError,
    ToolError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._manifest import artifacts_of
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import (
    _restore_archive,
    _restore_globals,
    _restore_set,
    _tools,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._connection import Connection
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis import _plan
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis import _restore as _redis_restore
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._snapshot import ARTIFACT as RDB
from ansible_collections.authentik_ops.recovery.plugins.module_utils._tree_digest import TreeDigest, differences

if TYPE_CHECKING:
    from typing import Any, Iterator

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import PostgresSettings

_HINT = "use another backup set; `list` shows them"


def decode(manifest: dict[str, Any], source: Any, settings: PostgresSettings, bin_dir: str | None) -> list[str]:
    """Read all artifacts of the set and return their paths.

    :param source: ``source.artifact(path)`` is a context manager that gives a reader.
    :param settings: say where PostgreSQL's programs run; nothing is connected to.
    :param bin_dir: folder to look for ``pg_restore`` in, None for the usual ones.
    :raises IntegrityError: when one is not what was recorded, or does not decode.
    :raises ToolError: when a program that is needed is missing, so that nothing is proved.
    """
    components = manifest["components"]
    done: list[str] = []
    if "postgresql" in components:
        done += _databases(manifest, source, settings, bin_dir)
    for record in _static_restore.choose(manifest, None)[0]:
        done += _archive(record, source, secret=False)
    if "redis" in components:
        with source.artifact(RDB) as reader:
            contents = _plan.read_contents(reader)
        _redis_restore.compare_with_manifest(contents, manifest)
        done.append(RDB)
    if "config" in components:
        done += _archive(dict(components["config"], artifacts=artifacts_of(manifest, "config")), source, secret=True)
    objects = artifacts_of(manifest, _object_index.COMPONENT)
    if any(artifact["path"] == _object_index.INDEX for artifact in objects):
        done += _object_index.decode(components[_object_index.COMPONENT], objects, source)
    left = sorted({artifact["path"] for artifact in manifest["artifacts"]} - set(done))
    if left:
        raise StateError(
            "This version cannot decode %s" % ", ".join(left), "verify the set with the version that made it"
        )
    return done


def _databases(manifest: dict[str, Any], source: Any, settings: PostgresSettings, bin_dir: str | None) -> Iterator[str]:
    record = manifest["components"]["postgresql"]
    names = [record["database"], *record["other_databases"]]
    for database in _restore_set.databases_of(manifest, names, record["database"], settings.user):
        tools = _tools.choose(_tools.installed(settings, "pg_restore", bin_dir), database.tool_major, "pg_restore")
        with source.artifact(database.path) as reader, Connection(settings) as connection:
            archive = _restore_archive.Archive(reader, database.path, database.compression, tools, connection)
            archive.contents()
            archive.decode()
        yield database.path
    if record.get("globals"):
        path = record["globals"]["artifact"]
        if path.endswith(".zst") and _process.find_program("zstd") is None:
            raise ToolError(
                "%s is compressed with zstd, which is not installed here" % path, "install the package zstd"
            )
        _restore_globals.check(manifest, source)
        yield path


def _archive(record: dict[str, Any], source: Any, secret: bool) -> Iterator[str]:
    """:param secret: its digest has a key, which lies in the archive."""
    digest, path = TreeDigest(), record["artifacts"][0]["path"]
    with _tar_codec.open_archive(record, source) as reader:
        for _entry in _tar_extract.watch_members(reader, digest):
            pass
        key = _config.archive_key(reader.comment) if secret else None
    said = differences(record["fingerprint"], digest.fingerprint(key))
    if said:
        raise IntegrityError("%s is not equal to the backup's fingerprint: %s" % (path, "; ".join(said)), _HINT)
    yield path
