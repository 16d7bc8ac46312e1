# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host holds, read on the host with PostgreSQL's, Debian's and Redis's own programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.system.authentik_host import BareMetal

PROPERTIES = """
SELECT datname, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype, datconnlimit, datacl
FROM pg_database WHERE datname = 'authentik';
"""
# Metadata and content of everything below a folder; a folder's own modification time included.
FILES = r"""
cd "$0"
find . -printf '%y %m %U:%G %T@ %n %p -> %l\n' | LC_ALL=C sort
find . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum
"""
REDIS = r"""
for db in 0 1; do
    redis-cli -n $db --scan | LC_ALL=C sort | while read -r key; do
        expires=$([ "$(redis-cli -n $db TTL "$key")" = -1 ] && echo never || echo later)
        echo "$db $key $expires $(redis-cli -n $db --no-raw DUMP "$key" | sha256sum)"
    done
done
"""


def picture(instance: BareMetal) -> dict[str, list[str]]:
    """Everything of the instance, by what it is about."""
    host = instance.host
    taken = {
        "database": _database(instance),
        "properties": host.psql(PROPERTIES).splitlines(),
        "views": host.psql(
            "SELECT schemaname, matviewname, matviewowner, ispopulated FROM pg_matviews ORDER BY 1, 2", "authentik"
        ).splitlines(),
    }
    for component, path in instance.layout.directories.items():
        taken[component] = host.sh(FILES.replace("$0", path)).splitlines()
    taken["configuration"] = host.sh(FILES.replace("$0", "/etc/authentik")).splitlines()
    if instance.layout.redis:
        taken["redis"] = host.sh(REDIS).splitlines()
    return taken


def differences(before: dict[str, list[str]], after: dict[str, list[str]]) -> dict[str, list[str]]:
    """What is not equal: the lines of each part that only one side has (``-`` lost, ``+`` new), at most 20."""
    found = {}
    for part in before:
        lost, new = set(before[part]) - set(after[part]), set(after[part]) - set(before[part])
        lines = ["- " + line for line in sorted(lost)] + ["+ " + line for line in sorted(new)]
        if lines or len(before[part]) != len(after[part]):
            found[part] = [line[:300] for line in lines[:20]] or [
                "%d lines, now %d" % (len(before[part]), len(after[part]))
            ]
    return found


def _database(instance: BareMetal) -> list[str]:
    # Rows have no order; pg_dump's own comments and its one-time \restrict keys say nothing about the database.
    text = instance.host.sh("pg_dump -d authentik", user="postgres")
    return sorted(line for line in text.split("\n") if not line.startswith(("--", "\\restrict", "\\unrestrict")))
