# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Generated databases: dumped, loaded beside themselves and proved by the modules, then compared by ``pg_dump``."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import psycopg2
from hypothesis import example, given

from tests.properties.pg_content import databases
from tests.properties.profiles import examples
from tests.support import in_process, oracle
from tests.support.pg_dumps import arguments as dump_arguments
from tests.support.pg_sets import RESTORE_ID, SUFFIX, admin_options, arguments
from tests.support.postgres import Database, Server

COPY = "authentik_new_" + SUFFIX
#: What hypothesis comes upon too seldom.
AWKWARD = [
    'CREATE TABLE "no column" ()',
    'INSERT INTO "no column" DEFAULT VALUES',
    'INSERT INTO "no column" DEFAULT VALUES',
    "CREATE TABLE empty (a double precision, b jsonb)",
    "CREATE TABLE numbers (a double precision)",
    "INSERT INTO numbers VALUES ('NaN'), ('-0'), ('0'), ('Infinity'), ('-Infinity'), (5e-324), (NULL), (NULL)",
    "CREATE TABLE twins (a text)",
    "INSERT INTO twins VALUES ('x'), ('x'), (NULL), (NULL), ('')",
]


def fill(database: Database, statements: list[str]) -> None:
    """Run statements as the owner, by a client that leaves them as they are."""
    session = psycopg2.connect(
        host="127.0.0.1", port=database.server.port, user=database.owner, password=database.password, dbname="authentik"
    )
    try:
        with session, session.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    finally:
        session.close()


@examples(8)
@given(databases())
@example(AWKWARD)
@example([])
def test_a_database_comes_back(postgres18: Server, statements: list[str]) -> None:
    postgres18.reset()
    database = postgres18.create_database()
    fill(database, statements)
    before = oracle.take(postgres18, "authentik")
    folder = Path(tempfile.mkdtemp())
    try:
        saved, instance = in_process.run("pg_dump", dump_arguments(database, folder))
        in_process.write_manifest(folder, saved["components"])
        given_options = arguments(database, "check", folder, **admin_options(postgres18))
        for step in ("check", "prepare"):
            in_process.run("pg_restore", {**given_options, "restore_id": RESTORE_ID, "step": step}, instance)
        assert oracle.differences(before, oracle.take(postgres18, COPY)) == []
        assert oracle.differences(before, oracle.take(postgres18, "authentik")) == []
    finally:
        shutil.rmtree(folder)
        postgres18.reset()
