# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""RESTORE.md of unusual sets: of names that a shell takes for more, and of Compose projects."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._restore_text import render
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._restore_text_shell import quoted
from tests.unit.test_manifest import manifest

NASTY = [
    "it's",
    "a b",
    '"; rm -rf / #',
    "$(reboot)",
    "`reboot`",
    "two\nlines",
    "\x1b[2J",
    "\udcff",
    "-x",
    "x\x017",
    "Ω!",
]
PATHS = ["/srv/`touch pwned`/$(touch pwned)", "/srv/x\n```\ntouch pwned", "/srv/x'; touch pwned; '"]
FINGERPRINT = {
    "server_version": 160004, "owner": "sso", "acl": None, "settings": [], "connection_limit": -1, "comment": None,
    "locale_provider": "libc", "collation": "C", "ctype": "C", "locale": None, "roles": ["sso"],
    "tables": {"public.user": {"rows": 3}},
}  # fmt: skip
IMAGES = [
    {"service": "db", "reference": "postgres:16", "id": "", "digests": ["postgres@sha256:aa"]},
    {"service": "cache", "reference": "redis:7", "id": "", "digests": []},
    {"service": "web", "reference": "ghcr.io/goauthentik/server:2025.8.4", "id": "", "digests": ["g@sha256:bb"]},
]
PROJECT = {
    "name": "sso",
    "directory": "/opt/my sso",
    "files": ["/opt/my sso/compose.yml"],
    "env_files": ["/opt/my sso/.env"],
    "profiles": ["prod"],
    "images": IMAGES,
    "postgresql_service": "db",
    "redis_service": "cache",
}
DATABASE, PSQL = "exec -T -e PGUSER=sso db ", "psql -X -q -A -t -v ON_ERROR_STOP=1 -d "
# Writes down what it was asked for, and answers as if all was well.
DOCKER = '#!/bin/sh\necho "$@" >> "$LOG"\ncase "$*" in *psql*SHOW*) echo 180000 ;; *psql*SELECT*) echo 1 ;; esac\n'


def blocks(document: dict[str, Any]) -> str:
    text = render(document).decode("utf-8", "surrogateescape")
    return "".join(found[1] for found in re.findall(r"^(```+)bash\n(.*?)^\1$", text, re.S | re.M))


@pytest.mark.parametrize("value", NASTY)
def test_a_word_of_the_shell_stands_for_itself(value: str) -> None:
    done = subprocess.run(["bash", "-c", "printf %s " + quoted(value)], capture_output=True, check=True)
    assert done.stdout == value.encode("utf-8", "surrogateescape")
    assert quoted(value).isprintable(), "what is shown is what is there"


def with_directory(path: str) -> dict[str, Any]:
    document = manifest()
    artifact = dict(document["artifacts"][0], path="static/media.tar.zst", component="media")
    document["artifacts"] = [artifact]
    record = {"component": "media", "path": path, "state": "saved", "artifacts": [{"path": artifact["path"]}]}
    document["components"] = {"media": {**record, "owner": {"uid": 1000, "gid": 1001, "mode": "0750"}}}
    return document


@pytest.mark.parametrize("path", PATHS)
def test_no_name_becomes_a_command(tmp_path: Path, path: str) -> None:
    """Settings, helpers and all that comes before the first program of the set's own fails."""
    script = blocks(with_directory(path))
    assert script.count("\nbeside ") == 1
    shown = 'beside() { printf %s "$2"; exit 0; }\n'
    call = script[script.index("\nbeside ") :]
    done = subprocess.run(["bash", "-c", "ROOT=\n" + shown + call], cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout.decode() == path
    assert list(tmp_path.iterdir()) == []


def test_owners_and_places_are_named() -> None:
    text = render(with_directory("/srv/media")).decode()
    assert "- media: `/srv/media`, owner 1000:1001, mode 0750" in text


def test_a_compose_project_is_made_restored_and_started_in_this_order(tmp_path: Path) -> None:
    document = manifest()
    document["artifacts"].append(dict(document["artifacts"][0], path="redis/dump.rdb", component="redis"))
    (dump,) = [one["path"] for one in document["artifacts"] if one["component"] == "postgresql"]
    database = {"database": "sso", "artifact": dump, "database_bytes": 1, "fingerprint": FINGERPRINT}
    saved = {"globals": {"artifact": "postgresql/globals.sql", "role_passwords": True}, "server_version": "16.4"}
    document["components"]["postgresql"].update(database, other_databases={}, **saved)
    document["components"]["config"]["compose"] = PROJECT
    document["components"]["redis"] = {"component": "redis", "artifacts": [{"path": "redis/dump.rdb"}]}
    script = re.sub(r"(?m)^(sha256sum|unpack|plain) .*$", "", blocks(document)).replace(
        'WORK="/root/', 'WORK="$PWD/work-'
    )
    program, log = tmp_path / "docker", tmp_path / "log"
    program.write_text(DOCKER)
    program.chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env={"PATH": "%s:/usr/bin:/bin" % tmp_path, "LOG": str(log)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    head = "compose --project-name sso --project-directory /opt/my sso --file /opt/my sso/compose.yml "
    head += "--env-file /opt/my sso/.env --profile prod "
    assert log.read_text().replace(head, "").splitlines() == [
        "image inspect ghcr.io/goauthentik/server:2025.8.4",
        "image inspect postgres:16",
        "image inspect redis:7",
        "up --no-start",
        "stop web",
        "up --detach --no-recreate --no-deps db cache",
        DATABASE + "pg_isready --quiet",
        DATABASE + "pg_isready --quiet",
        DATABASE + PSQL + "postgres -c SHOW server_version_num",
        DATABASE + PSQL + "postgres -c SELECT 1 FROM pg_roles WHERE rolname = 'sso'",
        DATABASE + PSQL + "postgres",
        DATABASE + "vacuumdb --quiet --analyze-only --dbname sso_new_20261122t031500z_7f3a",
        DATABASE + PSQL + "postgres",
        DATABASE + PSQL + "sso_new_20261122t031500z_7f3a",
        DATABASE + PSQL + "postgres",
        "stop cache",
        "cp redis/dump.rdb cache:/data/dump.rdb",
        "start cache",
        "up --detach",
    ]
    assert 'count(*) FROM "public"."user"' in script, "the name of a table may be a word of SQL"
    assert "docker pull g@sha256:bb; docker tag g@sha256:bb ghcr.io/goauthentik/server:2025.8.4; }" in script
