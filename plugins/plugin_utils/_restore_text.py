# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""C(RESTORE.md): how one set is restored by hand, with standard tools and nothing of this collection. Pure.

All commands are in blocks of bash that are run one after the other in one shell. The first block holds what the reader
has to fill in. What changes anything goes through functions of the second one, so that nothing happens in a shell that
lacks them.
"""

from __future__ import annotations

import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _manifest
from ansible_collections.authentik_ops.recovery.plugins.module_utils._object_index import COMPONENT as S3
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import count, format_bytes
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _restore_text_bucket as bucket
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _restore_text_postgres as postgres
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._restore_text_project import Project
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._restore_text_shell import (
    Section,
    code,
    document,
    quoted,
)

_HELPERS = r"""
plain() { case $1 in *.zst) zstd -dc "$1" ;; *.gz) gzip -dc "$1" ;; *) cat "$1" ;; esac; }
fail() { echo "$1" >&2; exit 1; }
unpack() {
  plain "$1" | tar --extract --numeric-owner --preserve-permissions --xattrs --xattrs-include='*' --file - "${@:2}"
}
# Unpacks an archive beside a directory, and compares what is there then with the archive.
beside() {
  rm -rf "$2.new-$ID"
  mkdir -p "$2.new-$ID"
  unpack "$1" --directory "$2.new-$ID"
  plain "$1" | tar --compare --file - --directory "$2.new-$ID"
}
# Gives it the directory's name. What was there stays as <directory>.before-<id>.
swap_directory() {
  [ -d "$1.new-$ID" ] || fail "$1.new-$ID is not there"
  if [ -e "$1" ]; then mv --no-target-directory "$1" "$1.before-$ID"; fi
  mv --no-target-directory "$1.new-$ID" "$1"
}
"""
_HELPERS_POSTGRES = r"""
pg() { "${PG[@]}" "$@"; }
sql() { pg psql -X -q -A -t -v ON_ERROR_STOP=1 -d "$@"; }
# Makes a role as it was, where the server has none of that name: its name as within quotes, and as a literal.
make_role() {
  [ -z "$(sql postgres -c "SELECT 1 FROM pg_roles WHERE rolname = $2" < /dev/null)" ] || return 0
  plain "$GLOBALS" |
    grep -F -e "CREATE ROLE $1;" -e "CREATE ROLE \"$1\";" -e "ALTER ROLE $1 WITH " -e "ALTER ROLE \"$1\" WITH " |
    sql postgres
}
"""


def render(manifest: dict[str, t.Any]) -> bytes:
    """Return the text for the set of this manifest."""
    plain = _manifest.plain_view(manifest)
    project = Project.of(plain)
    sections = [
        _settings(manifest, plain, project),
        _helpers(plain),
        _read(manifest, plain),
        *_configuration(plain, project),
        _stop(plain, project),
        *postgres.prepare(plain),
        *_directories(plain),
        *bucket.unpack(plain),
        *_swap(plain),
        *_redis(plain, project),
        *bucket.put(plain),
        *_others(plain),
        _start(plain, project),
    ]
    return document(_head(manifest, project), sections).encode("utf-8", "surrogateescape")


def _head(manifest: dict[str, t.Any], project: Project | None) -> list[str]:
    instance, artifacts = manifest["instance"], manifest["artifacts"]
    recipients = ", ".join(code(key) for key in _manifest.recipients_of(manifest))
    version = instance["authentik_version"]
    how = (
        "the Docker Compose project %s" % code(project.name) if project else "of deployment %s" % instance["deployment"]
    )
    return [
        "# Backup set %s of %s: restore it by hand" % (manifest["id"], instance["name"]),
        "",
        "Saved %s by authentik_ops.recovery %s, which is not needed here: %s, %s. The instance was %s."
        % (
            manifest["started"],
            manifest["created_by"]["collection"],
            count(len(artifacts), "artifact"),
            format_bytes(sum(artifact["size"] for artifact in artifacts)),
            how,
        ),
        "",
        "- authentik: %s. Run exactly this version on what is restored, and upgrade it later."
        % (code(version["value"]) if version else "its version was not known"),
        "- Encryption: %s" % ("age, to %s. One of their identities is needed." % recipients if recipients else "none"),
        "- Secret key: %s" % _secret_key(manifest),
        "- Not in this set: %s" % (", ".join(_left_out(manifest)) or "nothing that was found"),
        "- Tools: %s" % ", ".join(_tools(manifest, project)),
        "",
        "Become root, start `bash` in the folder of this set, and paste one block after the other. The first error "
        "ends that `bash`: remove its cause and begin again. Nothing that was there is changed before *Swap*.",
    ]


def _secret_key(manifest: dict[str, t.Any]) -> str:
    record = manifest["components"].get("config")
    if record is None:
        return "not in this set, which has no configuration. With another one, sessions and signed links end."
    names = [code(one["path"]) for one in record.get("files", ())]
    return "in the archive of the configuration, in one of %s" % (", ".join(names) or "its files")


def _left_out(manifest: dict[str, t.Any]) -> list[str]:
    found = []
    for name, record in sorted(manifest["components"].items()):
        if record.get("state") == "missing":
            found.append("%s (there was no %s)" % (name, code(record["path"])))
        found += ["the rows of %s" % code(table) for table in record.get("excluded_data", ())]
    return found if "redis" in manifest["components"] else [*found, "Redis"]


def _tools(manifest: dict[str, t.Any], project: Project | None) -> list[str]:
    paths = [artifact["path"] for artifact in _manifest.plain_view(manifest)["artifacts"]]
    wanted = {
        "GNU coreutils and tar": True,
        "age": bool(_manifest.recipients_of(manifest)),
        "zstd": any(path.endswith(".zst") for path in paths),
        "gzip": any(path.endswith(".gz") for path in paths),
        "Docker with its Compose plugin": project is not None,
        "PostgreSQL %d or newer" % postgres.server_major(_manifest.plain_view(manifest)): bool(
            postgres.databases(_manifest.plain_view(manifest))
        ),
        "Redis": "redis" in manifest["components"],
    }
    return [name for name, needed in wanted.items() if needed] + bucket.tools(manifest)


def _settings(manifest: dict[str, t.Any], plain: dict[str, t.Any], project: Project | None) -> Section:
    lines = [
        "set -euo pipefail",
        "umask 077",
        "ID=%s" % manifest["id"],
        "# A new folder for what is decrypted and unpacked to be looked at. It will hold secrets.",
        'WORK="/root/authentik-$ID"',
        "# Where the paths of the host begin: empty for where they were.",
        "ROOT=",
    ]
    if _manifest.recipients_of(manifest):
        lines += ["# The file with an identity of one of the recipients.", "IDENTITY=/root/identity.txt"]
    found = postgres.databases(plain)
    if project:
        lines += project.settings(found[0].owner if found else "")
    else:
        lines += [
            "# What stops and starts authentik: each is one command with its words.",
            "STOP=(systemctl stop authentik-worker authentik-server)",
            "START_SERVER=(systemctl start authentik-server)",
            "START_WORKER=(systemctl start authentik-worker)",
        ]
    if found and not (project and project.postgresql):
        lines += [
            "# How a superuser runs programs of PostgreSQL. For a server elsewhere: PG=(), and export",
            "# PGHOST, PGPORT, PGUSER; the password in ~/.pgpass.",
            "PG=(sudo -u postgres)",
        ]
    if "redis" in plain["components"] and not (project and project.redis):
        lines += [
            "# Where the Redis server keeps its file (`dir` of its configuration), and what stops and starts it.",
            "REDIS_DIR=/var/lib/redis",
            "STOP_REDIS=(systemctl stop redis-server)",
            "START_REDIS=(systemctl start redis-server)",
        ]
    lines += bucket.settings(plain)
    return Section("Fill in", ["Correct what is otherwise here."], lines)


def _helpers(plain: dict[str, t.Any]) -> Section:
    text = _HELPERS + (_HELPERS_POSTGRES if postgres.databases(plain) else "")
    return Section("", ["What the blocks below call:"], [line for line in text.split("\n") if line])


def _read(manifest: dict[str, t.Any], plain: dict[str, t.Any]) -> Section:
    words = ["Every byte is what was saved, if all of this passes."]
    commands = ["sha256sum --check --strict --quiet %s" % _manifest.SUMS_NAME, 'mkdir -p "$WORK"']
    if _manifest.recipients_of(manifest):
        words = [
            "Every byte is what was saved, and the manifest is the one that was sealed when the set was made, if all "
            "of this passes."
        ]
        commands.append(
            'age --decrypt --identity "$IDENTITY" %s | sha256sum --check --strict --quiet' % _manifest.SEAL_NAME
        )
        for folder in sorted({artifact["path"].rpartition("/")[0] for artifact in manifest["artifacts"]}):
            commands.append('mkdir -p "$WORK"/%s' % quoted(folder))
        for artifact in manifest["artifacts"]:
            path = artifact["path"]
            commands.append(
                'age --decrypt --identity "$IDENTITY" --output "$WORK"/%s %s'
                % (quoted(_manifest.plain_path(path)), quoted(path))
            )
        commands.append('cd "$WORK"')
    archives = [one["path"] for one in plain["artifacts"] if one["path"].startswith(("static/", "config/"))]
    commands += ["plain %s | tar --list --file - > /dev/null" % quoted(path) for path in archives]
    return Section("Read", words, commands)


def _configuration(plain: dict[str, t.Any], project: Project | None) -> list[Section]:
    sections = []
    for path in _artifacts(plain, "config"):
        words = [
            "All of it is unpacked into the work folder, to be compared. On the host, what is missing is laid down, "
            "and what is there stays as it is."
        ]
        commands = [
            'mkdir -p "$WORK/files"',
            'unpack %s --directory "$WORK/files"' % quoted(path),
            'unpack %s --skip-old-files --exclude=.authentik-recovery --directory "${ROOT:-/}"' % quoted(path),
        ]
        sections.append(Section("Configuration", words, commands))
    return sections + (project.make() if project else [])


def _stop(plain: dict[str, t.Any], project: Project | None) -> Section:
    if project:
        return project.stop(bool(postgres.databases(plain)))
    return Section("Stop authentik", ["First the worker, then the server."], ['"${STOP[@]}"'])


def _directories(plain: dict[str, t.Any]) -> list[Section]:
    words = ["Each is unpacked beside what is there, and compared with its archive. Owners are numbers.", ""]
    commands = []
    for name, record in _static(plain):
        words[1] += "\n- %s: %s%s" % (name, code(_place(record)), _owner(record))
        commands.append('beside %s "$ROOT"%s' % (quoted(_artifacts(plain, name)[0]), quoted(_place(record))))
    for name, record in sorted(plain["components"].items()):
        if record.get("state") == "inside":
            words[1] += "\n- %s: %s, within %s" % (name, code(record["path"]), record["inside"])
    return [Section("Directories", [words[0], words[1].strip()], commands)] if commands else []


def _owner(record: dict[str, t.Any]) -> str:
    """Return whose a directory is, as a part of a sentence; sets of the first versions do not tell."""
    owner = record.get("owner")
    return ", owner %d:%d, mode %s" % (owner["uid"], owner["gid"], owner["mode"]) if owner else ""


def _swap(plain: dict[str, t.Any]) -> list[Section]:
    commands = postgres.swap(plain)
    commands += ['swap_directory "$ROOT"%s' % quoted(_place(record)) for _name, record in _static(plain)]
    words = [
        "From here on it is live. What was there is kept: databases as %s, directories as `<directory>.before-%s`. To "
        "go back, stop authentik and rename both ways."
        % (", ".join(map(code, postgres.kept(plain))) or "(none)", plain["id"]),
    ]
    if _static(plain):
        words.append(
            "Where a directory is a mount point, `mv` refuses it: move what is in it aside, then in what is new."
        )
    return [Section("Swap", words, commands)] if commands else []


def _redis(plain: dict[str, t.Any], project: Project | None) -> list[Section]:
    sections = []
    for path in _artifacts(plain, "redis"):
        facts = plain["components"]["redis"].get("fingerprint", {})
        keys = ", ".join("%s in database %s" % (number, name) for name, number in sorted(facts.get("keys", {}).items()))
        words = [
            "Saved from Redis %s (RDB version %s): that version or a newer one reads it. Keys: %s; those "
            "that expired since are not loaded. With `appendonly yes` a server does not read it: start it without."
            % (facts.get("redis_version", "?"), facts.get("rdb_version", "?"), keys or "none")
        ]
        if project and project.redis:
            commands = project.load_redis(quoted(path))
        else:
            commands = [
                '"${STOP_REDIS[@]}"',
                'if [ -e "$REDIS_DIR/dump.rdb" ]; then mv "$REDIS_DIR/dump.rdb" "$REDIS_DIR/dump.rdb.before-$ID"; fi',
                'cp %s "$REDIS_DIR/dump.rdb"' % quoted(path),
                'chown --reference="$REDIS_DIR" "$REDIS_DIR/dump.rdb"',
                '"${START_REDIS[@]}"',
            ]
        sections.append(Section("Redis", words, commands))
    return sections


def _others(plain: dict[str, t.Any]) -> list[Section]:
    """What this text has no commands for."""
    used = postgres.artifacts_of(plain)
    known = {"config", "redis", S3, *(name for name, _record in _static(plain))}
    paths = [one["path"] for one in plain["artifacts"] if one["component"] not in known and one["path"] not in used]
    words = ["- %s" % code(path) for path in paths]
    return [Section("What is left", ["No commands are known for these files:", *words], [])] if paths else []


def _start(plain: dict[str, t.Any], project: Project | None) -> Section:
    done = 'When all is well, remove the work folder, which holds secrets: `rm -r "$WORK"`.'
    if project:
        return Section("Start authentik", [done], project.start())
    words = ["The worker follows when `/-/health/ready/` of the server answers.", done]
    return Section("Start authentik", words, ['"${START_SERVER[@]}"', '"${START_WORKER[@]}"'])


def _static(plain: dict[str, t.Any]) -> list[tuple[str, dict[str, t.Any]]]:
    """Return the components that are directories, those with an archive of their own."""
    return [
        (name, record)
        for name, record in sorted(plain["components"].items())
        if "path" in record and len(_artifacts(plain, name)) == 1
    ]


def _place(record: dict[str, t.Any]) -> str:
    return str(record.get("real_path") or record["path"])


def _artifacts(plain: dict[str, t.Any], component: str) -> list[str]:
    return [artifact["path"] for artifact in _manifest.artifacts_of(plain, component)]
