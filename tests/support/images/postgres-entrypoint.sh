#!/bin/sh
# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Entry point of a database image: what docker.io/library/postgres does with its variables and its data directory.
set -eu

# VAR, or the content of the file that VAR_FILE names.
file_env() {
    eval "value=\${$1:-}; file=\${$1_FILE:-}"
    if [ -n "$value" ] && [ -n "$file" ]; then
        echo "error: both $1 and $1_FILE are set (but are exclusive)" >&2
        exit 1
    fi
    if [ -n "$file" ]; then
        value=$(cat "$file")
    fi
    [ -n "$value" ] || value=${2:-}
    export "$1=$value"
    unset "$1_FILE"
}

initialise() {
    file_env POSTGRES_PASSWORD
    file_env POSTGRES_USER postgres
    file_env POSTGRES_DB "$POSTGRES_USER"
    if [ -z "$POSTGRES_PASSWORD" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
        echo "Error: Database is uninitialized and superuser password is not specified." >&2
        exit 1
    fi
    given=$(mktemp)
    printf '%s\n' "$POSTGRES_PASSWORD" >"$given"
    # shellcheck disable=SC2086 # several arguments in one variable, as in the image that this stands for
    initdb --username="$POSTGRES_USER" --pwfile="$given" ${POSTGRES_INITDB_ARGS:-} -D "$PGDATA" >/dev/null
    rm "$given"
    method=$(postgres -C password_encryption -D "$PGDATA")
    printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-$method}" >>"$PGDATA/pg_hba.conf"
    # Nobody else can connect before the database exists.
    pg_ctl -D "$PGDATA" -o "-c listen_addresses='' -p 5432" -w start >/dev/null
    if [ "$POSTGRES_DB" != postgres ]; then
        echo 'CREATE DATABASE :"name";' |
            psql -X -v ON_ERROR_STOP=1 -v name="$POSTGRES_DB" -U "$POSTGRES_USER" -d postgres
    fi
    for script in /docker-entrypoint-initdb.d/*.sql; do
        [ ! -f "$script" ] || psql -X -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" -f "$script"
    done
    pg_ctl -D "$PGDATA" -m fast -w stop >/dev/null
    echo "PostgreSQL init process complete; ready for start up."
}

case ${1:-} in
-*) set -- postgres "$@" ;;
esac
if [ "${1:-}" = postgres ] && [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" /var/run/postgresql
    chmod 700 "$PGDATA"
    chown -R postgres "$PGDATA"
    chown postgres /var/run/postgresql
    chmod 3777 /var/run/postgresql
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi
if [ "${1:-}" = postgres ]; then
    [ -s "$PGDATA/PG_VERSION" ] || initialise
    unset POSTGRES_PASSWORD
    shift
    set -- postgres -c listen_addresses='*' -c fsync=off "$@"
fi
exec "$@"
