# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The commands of C(RESTORE.md) for a Docker Compose project. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._restore_text_shell import (
    Section,
    code,
    quoted,
)


class Project:
    """The project of a set.

    :param record: as in the manifest's record of the configuration.
    """

    def __init__(self, record: dict[str, t.Any]) -> None:
        self.name = str(record["name"])
        self.postgresql = str(record.get("postgresql_service") or "")
        self.redis = str(record.get("redis_service") or "")
        self._record = record

    @classmethod
    def of(cls, manifest: dict[str, t.Any]) -> Project | None:
        """Return the project, None for an instance that is none."""
        record = manifest["components"].get("config", {}).get("compose")
        return cls(record) if record else None

    def settings(self, superuser: str) -> list[str]:
        """Return how the project, and its database, are reached.

        :param superuser: who that is in its server if nobody changed it; empty where the set has no database.
        """
        words = ["docker compose --project-name", quoted(self.name)]
        words += ['--project-directory "$ROOT"%s' % quoted(self._record["directory"])]
        for option, field in (("file", "files"), ("env-file", "env_files")):
            words += ['--%s "$ROOT"%s' % (option, quoted(path)) for path in self._record[field]]
        words += ["--profile %s" % quoted(profile) for profile in self._record["profiles"]]
        lines = ["COMPOSE=(%s)" % " ".join(words)]
        if self.postgresql and superuser:
            lines += [
                "# The superuser of the project's PostgreSQL: POSTGRES_USER of its service.",
                "PGUSER=%s" % quoted(superuser),
                'PG=("${COMPOSE[@]}" exec -T -e "PGUSER=$PGUSER" %s)' % quoted(self.postgresql),
            ]
        return lines

    def make(self) -> list[Section]:
        """Return how the project gets its images and containers."""
        words, commands = [], []
        gone = [*self._record.get("missing_files", ()), *self._record.get("missing_env_files", ())]
        if gone:
            words.append("These files are not in this set: %s." % ", ".join(map(code, gone)))
        if self._record.get("shell_variables"):
            words.append(
                "Export first, they were in no file: %s." % ", ".join(map(code, self._record["shell_variables"]))
            )
        for reference, digest in sorted({one["reference"]: _digest(one) for one in self._record["images"]}.items()):
            commands.append(_bring(reference, digest))
        commands.append('"${COMPOSE[@]}" up --no-start')
        words.append(
            "The images that it ran, and its containers and volumes where they are missing. Nothing is started."
        )
        return [Section("Project", words, commands)]

    def stop(self, has_database: bool) -> Section:
        """Return how all of it but its servers is stopped, and these are started.

        :param has_database: whether one is restored, so that its server has to be waited for.
        """
        servers = [name for name in (self.postgresql, self.redis) if name]
        others = [one["service"] for one in self._record["images"] if one["service"] not in servers]
        commands = ['"${COMPOSE[@]}" stop %s' % " ".join(map(quoted, others))] if others else []
        if servers:
            commands.append('"${COMPOSE[@]}" up --detach --no-recreate --no-deps %s' % " ".join(map(quoted, servers)))
        if self.postgresql and has_database:
            commands += [
                "for try in {1..60}; do pg pg_isready --quiet < /dev/null && break; sleep 2; done",
                'pg pg_isready --quiet < /dev/null || fail "The database server does not answer"',
            ]
        return Section(
            "Stop authentik", ["Only its servers run: %s." % (", ".join(map(code, servers)) or "none")], commands
        )

    def load_redis(self, path: str) -> list[str]:
        """Return how its Redis server gets a file; the image keeps it in ``/data``."""
        service = quoted(self.redis)
        return [
            '"${COMPOSE[@]}" stop %s' % service,
            '"${COMPOSE[@]}" cp %s %s:/data/dump.rdb' % (path, service),
            '"${COMPOSE[@]}" start %s' % service,
        ]

    def start(self) -> list[str]:
        """Return how all of it is started."""
        return ['"${COMPOSE[@]}" up --detach']


def _digest(image: dict[str, t.Any]) -> str:
    return str(image["digests"][0]) if image["digests"] else ""


def _bring(reference: str, digest: str) -> str:
    """Return a command that makes sure of an image; what was never pulled has no digest, and has to be there."""
    known = "docker image inspect %s > /dev/null" % quoted(reference)
    if not digest:
        return known
    tag = "" if "@" in reference else "docker tag %s %s; " % (quoted(digest), quoted(reference))
    return "%s 2>&1 || { docker pull %s; %s}" % (known, quoted(digest), tag)
