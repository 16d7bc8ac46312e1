# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The objects of a set as a restore takes them, whatever form the set has them in, and their names in a bucket.

Before authentik 2025.12 a bucket holds the folders of tenants, C(t_*/) and that of the default one, which is called
like its schema, C(public/) where C(postgresql.default_schema) says nothing else. Since then these lie in C(media/) and
C(reports/). What else lies there may be another instance's.
"""

from __future__ import annotations

import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _object_index as index_of
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import count
from ansible_collections.authentik_ops.recovery.plugins.module_utils._tree_digest import printable

MEDIA, REPORTS = "media", "reports"
_SHOWN = 3

Entry = dict[str, t.Any]


class Saved(t.NamedTuple):
    """The objects of a set.

    :ivar objects: as in an index. Where C(stored) is given, it is the name in the set, and C(key) that in a bucket.
    :ivar usages: of what the set tells: C(media), C(reports) or both. Of the rest it does not say that there was none.
    :ivar modern: whether the names are those since authentik 2025.12.
    :ivar read: yields entry and content of some of the entries.
    :ivar said: sentences for the plan.
    :ivar component: of the set, that they come from.
    :ivar default_schema: of the instance that was saved; empty where that is not known.
    """

    objects: list[Entry]
    usages: tuple[str, ...]
    modern: bool
    read: t.Callable[[list[Entry]], t.Iterator[tuple[Entry, index_of.Checked]]]
    said: tuple[str, ...] = ()
    component: str = index_of.COMPONENT
    default_schema: str = ""


class Named(t.NamedTuple):
    """What of a set's objects an instance has a place for.

    :ivar objects: with the keys that they have there.
    :ivar folders: those of the bucket of which the set tells, as in C(Bucket); None where there are none.
    :ivar said: sentences for the plan.
    :ivar elsewhere: names of the ones that it has on a disk, in the set.
    """

    objects: list[Entry]
    folders: tuple[str, ...] | None
    said: tuple[str, ...]
    elsewhere: tuple[str, ...] = ()


def of_packs(record: dict[str, t.Any], source: t.Any) -> Saved:
    """Return the objects of the component C(s3).

    :raises IntegrityError: when the index is not that of the record.
    """
    index = index_of.read_index(record, source)
    folders = tuple(index["folders"])
    return Saved(
        index["objects"],
        folders or (MEDIA,),
        bool(folders),
        lambda entries: index_of.read_objects({"objects": entries}, source),
        default_schema=str(index.get("default_schema") or ""),
    )


def is_tenant(folder: str, default_schema: str) -> bool:
    """Tell whether a folder is that of a tenant of an instance with this default schema."""
    return folder == default_schema or folder.startswith("t_")


def name_here(saved: Saved, folders: tuple[str, ...], default_schema: str) -> Named:
    """Give objects the names that they have in an instance's bucket. Pure.

    :param folders: of the bucket, as in C(Bucket); so is C(default_schema).
    :raises StateError: when the set is of an instance with another default schema.
    """
    if saved.default_schema not in ("", default_schema):
        _refuse_schema(saved, default_schema)
    objects, without, elsewhere = [], [], []
    for entry in saved.objects:
        modern = _modern(saved, entry)
        key = _key(modern, folders, default_schema)
        if key is None:
            without.append(entry["key"])
            # Without folders there are no reports at all.
            usage = modern.partition("/")[0]
            if folders and usage in (MEDIA, REPORTS) and usage not in folders:
                elsewhere.append(entry["key"])
        else:
            objects.append(entry if key == entry["key"] else {"stored": entry["key"], **entry, "key": key})
    said = []
    if saved.modern != bool(folders):
        names = ("public/...", "media/public/...")
        said.append("s3: what the set has as %s is %s here" % (names[saved.modern], names[not saved.modern]))
    if without:
        said.append(left_out(without, "this instance has no place in its bucket for"))
    usages = folders or (MEDIA,)
    for one in usages:
        if one not in saved.usages:
            said.append("s3: %s/ in the bucket stays as it is, because the set tells nothing of it" % one)
    told = tuple(one for one in usages if one in saved.usages)
    return Named(objects, (told if folders else ()) if told else None, tuple(said), tuple(elsewhere))


def name_all_here(saved: Saved, folders: tuple[str, ...], default_schema: str) -> Named:
    """The same, where none of them belongs on a disk: the bucket would get some, and the disk nothing.

    :raises StateError: when the instance has media or reports on a disk, and the set has some.
    """
    named = name_here(saved, folders, default_schema)
    if named.elsewhere:
        usage = MEDIA if folders == (REPORTS,) else REPORTS
        raise StateError(
            "This instance has %s on a disk and not in its bucket, and the set has %s of them: %s"
            % (usage, count(len(named.elsewhere), "object"), _first_of(named.elsewhere)),
            "Restore all into a directory, and copy %s from there into the bucket by hand: name it with "
            "authentik_restore_paths, such as {%s: /data}. Or let authentik have media and reports in one place "
            "(storage.backend), and repeat the restore. Or leave %s out of authentik_components"
            % (folders[0], saved.component, saved.component),
        )
    return named


def left_out(names: t.Sequence[str], why: str) -> str:
    """Say that something is not restored, with the first of the names."""
    return "s3: left out, because %s %s: %s" % (why, count(len(names), "object"), _first_of(names))


def _first_of(names: t.Sequence[str]) -> str:
    shown = [printable(name.encode("utf-8", "surrogateescape")) for name in sorted(names)[:_SHOWN]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (" and %d more" % more if more else "")


def _refuse_schema(saved: Saved, here: str) -> None:
    own = [entry for entry in saved.objects if _modern(saved, entry).split("/")[1:2] == [saved.default_schema]]
    if not own:
        return
    raise StateError(
        "The set holds %s of an instance with the default schema %s, and this one has %s: it would not find them, nor "
        "the tables of the set's database" % (count(len(own), "file"), saved.default_schema, here),
        "Set AUTHENTIK_POSTGRESQL__DEFAULT_SCHEMA=%s for authentik on the host, or say that the restored configuration "
        "does so, as below; else leave s3 out of authentik_components" % saved.default_schema,
        "ansible-playbook authentik_ops.recovery.restore -e authentik_postgresql_default_schema=%s"
        % saved.default_schema,
    )


def _modern(saved: Saved, entry: Entry) -> str:
    return str(entry["key"]) if saved.modern else "%s/%s" % (MEDIA, entry["key"])


def _key(modern: str, folders: tuple[str, ...], default_schema: str) -> str | None:
    """Return the name in a bucket of what is named so since 2025.12; None where there is no place for it."""
    usage, _slash, rest = modern.partition("/")
    tenant, slash, _name = rest.partition("/")
    if not slash or not is_tenant(tenant, default_schema):
        return None
    if folders:
        return modern if usage in folders else None
    return rest if usage == MEDIA else None
