# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An authentik-shaped database, made by us: schema and data of any size, the same for the same arguments.

    load(database.psql, rows=200)

``psql`` is any function that runs a script of several statements in the database as its owner.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
TENANT = "t_acme"

#: Text that breaks careless quoting, COPY, JSON, encodings or sorting.
AWKWARD = (
    "plain",
    "",
    "quote ' double \" back\\slash \\\\ $$ $fn$ %s {brace}",
    "tab\tnewline\nreturn\rvertical\x0bform\x0c",
    "\\N",
    "\\.",
    "\\u0041 \\x41 \\101",
    "Grüße, Ærøskøbing, Łódź, Ελλάδα",
    "日本語テキスト 漢字 ㍿",
    "עברית \u202eright to left\u202c العربية",
    "emoji 👩‍👩‍👧‍👦 🏳️‍🌈 \U0010fffd",
    "combining e\u0301 versus \u00e9",
    "zero\u200bwidth \ufeffbom line\u2028separator",
    "\x01\x02\x1b[31m\x7f",
    "'; DROP TABLE authentik_core_user; --",
    "x" * 3000,
)

#: Documents whose text form is easily changed by a program that parses them.
DOCUMENTS = (
    {"text": list(AWKWARD)},
    {"number": [1.10, 1e300, -0.0, 12345678901234567890123456789, 0.1], "empty": [{}, [], "", None, True]},
    {"": {"nested": {"deeper": {"deepest": ["ü", {"\\": '"'}]}}}},
    {"authorized_application": {"name": "Ünï \\ 'app'", "pk": 1}},
)

Psql = Callable[[str], str]


def load(
    psql: Psql, rows: int = 200, tenants: Sequence[str] = (TENANT,), version: str = "2025.12.4", text_bytes: int = 200
) -> None:
    """Create the schema and fill it.

    :param rows: events in the default schema; there are a fifth as many users, half as many tasks.
    :param tenants: schemas of further tenants; with any, ``template`` is full of (empty) tables, as multi-tenancy does.
    :param version: what the newest row of ``authentik_version_history`` says.
    :param text_bytes: size of the text in each event (hardly compressible).
    """
    psql(create(tenants))
    psql(fill(rows, version, text_bytes, tenants))
    for tenant in tenants:
        psql("SET search_path = %s, public;\n%s" % (tenant, _fill_schema(max(rows // 10, 20), text_bytes)))


def create(tenants: Sequence[str] = (TENANT,)) -> str:
    """Return SQL that makes all schemas and tables, empty."""
    each = (HERE / "authentik_schema.sql").read_text(encoding="utf-8")
    parts = [each, (HERE / "authentik_shared.sql").read_text(encoding="utf-8"), "CREATE SCHEMA template;"]
    if tenants:
        parts += ["SET search_path = template;", each]
    for tenant in tenants:
        parts += ["CREATE SCHEMA %s;" % tenant, "SET search_path = %s;" % tenant, each]
    return "\n".join(parts)


def fill(rows: int, version: str, text_bytes: int, tenants: Sequence[str] = ()) -> str:
    """Return SQL that fills the default schema."""
    names = ", ".join(
        "(md5(%s)::uuid, %s, %s)" % (_text(name), _text(name), _text("Tenant " + name)) for name in ("public", *tenants)
    )
    return "\n".join(
        [
            "SET search_path = public;",
            _fill_schema(rows, text_bytes),
            """
INSERT INTO authentik_version_history ("timestamp", version, build)
    VALUES ('2025-03-01 10:00+00', '2025.2.1', ''), ('2026-01-10 09:30:00.123456+00', %s, '');
INSERT INTO authentik_install_id VALUES ('0b6dd1cd2f6f4a5d9f0d4d1e4b1c3a57');
INSERT INTO authentik_tenants_tenant VALUES %s;
"""
            % (_text(version), names),
            _fill_tasks(max(rows // 2, 10)),
            (HERE / "authentik_odd.sql").read_text(encoding="utf-8"),
        ]
    )


def _fill_schema(rows: int, text_bytes: int) -> str:
    users = max(rows // 5, 2 * len(AWKWARD))
    # A big instance has many users, not many groups: each membership of a group in a group refreshes a view.
    groups = min(max(users // 10, 12), 100)
    awkward = "ARRAY[%s]" % ", ".join(_text(text) for text in AWKWARD)
    documents = "ARRAY[%s]::jsonb[]" % ", ".join(_text(json.dumps(item)) for item in DOCUMENTS)
    blob = "(SELECT string_agg(md5(n::text || '-' || part), '') FROM generate_series(1, %d) AS part)" % max(
        text_bytes // 32, 1
    )
    return (HERE / "authentik_fill.sql").read_text(encoding="utf-8").format(
        users=users, groups=groups, rows=rows, awkward=awkward, documents=documents, blob=blob,
        words=len(AWKWARD), docs=len(DOCUMENTS),
    )  # fmt: skip


def _fill_tasks(tasks: int) -> str:
    return """
INSERT INTO authentik_tasks_task
    SELECT md5('task' || n)::uuid, 'default', 'authentik.tasks', decode(md5('m' || n) || '00ff5c0a', 'hex'),
        CASE WHEN n % 5 = 0 THEN 'queued' ELSE 'done' END, timestamptz '2026-01-01 00:00+00' + n * interval '1 second',
        CASE WHEN n % 2 = 0 THEN ''::bytea END, '[{{"log_level": "info"}}]', '', md5('public')::uuid, n % 3
    FROM generate_series(1, {tasks}) AS n;
ALTER TABLE authentik_tasks_task DISABLE TRIGGER update_aggregated_status;
UPDATE authentik_tasks_task SET aggregated_status = 'as the trigger never writes it' WHERE retries = 1;
ALTER TABLE authentik_tasks_task ENABLE TRIGGER update_aggregated_status;
INSERT INTO authentik_tasks_tasklog
    SELECT md5('log' || n)::uuid, 'event ' || n, 'info',
        timestamptz '2026-01-01 00:00+00', '{{}}', md5('task' || n)::uuid
    FROM generate_series(1, {tasks}) AS n;
INSERT INTO django_channels_postgres_message
    SELECT md5('msg' || n)::uuid, 'channel', decode(md5('c' || n), 'hex'), timestamptz '2026-01-01 00:00+00'
    FROM generate_series(1, 20) AS n;
SELECT nextval('authentik_used_seq') FROM generate_series(1, 17);
""".format(tasks=tasks)


def _text(value: str) -> str:
    """Quote as an escape string: control characters and backslashes in plain sight."""
    escaped = (
        value.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    )
    return "E'%s'" % escaped
