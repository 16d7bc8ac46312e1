-- Copyright (c) 2026 the authentik_ops.recovery contributors
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- The tables that authentik keeps in the default schema only: version history, tenants, tasks, channels.

CREATE TABLE authentik_version_history (
    id bigserial PRIMARY KEY,
    "timestamp" timestamptz NOT NULL,
    version text NOT NULL,
    build text NOT NULL
);

CREATE TABLE authentik_install_id (id text NOT NULL);

CREATE TABLE authentik_tenants_tenant (
    tenant_uuid uuid PRIMARY KEY,
    schema_name varchar(63) NOT NULL UNIQUE,
    name text NOT NULL
);

CREATE TABLE authentik_tasks_task (
    message_id uuid PRIMARY KEY,
    queue_name text NOT NULL,
    actor_name text NOT NULL,
    message bytea,
    state varchar NOT NULL,
    mtime timestamptz NOT NULL,
    result bytea,
    _messages jsonb NOT NULL,
    aggregated_status text NOT NULL,
    tenant_id uuid NOT NULL REFERENCES authentik_tenants_tenant DEFERRABLE INITIALLY DEFERRED,
    retries bigint NOT NULL
);

CREATE TABLE authentik_tasks_tasklog (
    id uuid PRIMARY KEY,
    event text NOT NULL,
    log_level text NOT NULL,
    "timestamp" timestamptz NOT NULL,
    attributes jsonb NOT NULL,
    task_id uuid NOT NULL REFERENCES authentik_tasks_task ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
);

CREATE TABLE django_channels_postgres_message (
    id uuid PRIMARY KEY,
    channel text NOT NULL,
    message bytea NOT NULL,
    expires timestamptz NOT NULL
);

CREATE FUNCTION notify_enqueueing() RETURNS trigger LANGUAGE plpgsql AS $fn$
BEGIN
    PERFORM pg_notify('authentik.tasks.' || NEW.queue_name || '.enqueue', NEW.message_id::text);
    RETURN NEW;
END;
$fn$;
CREATE CONSTRAINT TRIGGER notify_enqueueing AFTER INSERT ON authentik_tasks_task
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION notify_enqueueing();

CREATE FUNCTION update_aggregated_status() RETURNS trigger LANGUAGE plpgsql AS $fn$
BEGIN
    -- A restore that fired this would change every row: the generator writes a different value first.
    NEW.aggregated_status := CASE WHEN NEW.state <> 'done' THEN NEW.state ELSE 'info' END;
    RETURN NEW;
END;
$fn$;
CREATE TRIGGER update_aggregated_status BEFORE INSERT OR UPDATE ON authentik_tasks_task
    FOR EACH ROW EXECUTE FUNCTION update_aggregated_status();

CREATE SEQUENCE authentik_unused_seq START 42 INCREMENT 7;
CREATE SEQUENCE authentik_used_seq;

-- Not authentik's: every rendering that depends on a session setting, and names that need quotes.
CREATE TABLE "Odd ""Table"" näme" (
    "Select" integer GENERATED ALWAYS AS IDENTITY,
    double_value double precision,
    real_value real,
    exact numeric,
    at timestamptz,
    local timestamp,
    length interval,
    day date,
    data bytea,
    net cidr,
    tags text[],
    matrix integer[][],
    doc json,
    span tstzrange,
    bits bit varying,
    twice integer GENERATED ALWAYS AS ("double" * 2) STORED,
    "double" integer
);
