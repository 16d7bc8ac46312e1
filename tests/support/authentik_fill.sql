-- Copyright (c) 2026 the authentik_ops.recovery contributors
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- Rows of one schema; the names in braces are filled in by tests/support/authentik_data.py.

BEGIN;
INSERT INTO django_migrations (app, name, applied)
    SELECT 'authentik_core', to_char(n, 'FM0000') || '_step', timestamptz '2025-01-01 00:00+00' + n * interval '1 hour'
    FROM generate_series(1, 40) AS n;
INSERT INTO authentik_core_user
        (password, last_login, username, email, is_active, date_joined, uuid, name, attributes, path, type)
    SELECT 'pbkdf2_sha256$1000000$' || md5(n::text) || '$' || md5('h' || n), CASE WHEN n % 3 > 0 THEN
        timestamptz '2026-03-29 01:30+00' - n * interval '37 minutes 11.123457 seconds' END,
        'user' || n, 'user' || n || '@example.com', n % 7 > 0, timestamptz '2024-02-29 12:00+00' + n * interval '1 second',
        md5('user' || n)::uuid, ({awkward})[n % {words} + 1], ({documents})[n % {docs} + 1], 'users/' || n % 5, 'internal'
    FROM generate_series(1, {users}) AS n;
INSERT INTO authentik_core_group
    SELECT md5('group' || n)::uuid, 'group ' || n || ({awkward})[n % {words} + 1], ({documents})[n % {docs} + 1], n = 1
    FROM generate_series(1, {groups}) AS n;
INSERT INTO authentik_core_user_ak_groups (user_id, group_id)
    SELECT u.id, md5('group' || (u.id % {groups} + 1))::uuid FROM authentik_core_user u;
INSERT INTO authentik_core_groupparentage
    SELECT md5('parent' || n)::uuid, md5('group' || n)::uuid, md5('group' || n / 2)::uuid FROM generate_series(2, {groups}) AS n;
INSERT INTO authentik_core_token
    SELECT md5('token' || id)::uuid, 'token-' || id, md5('k' || id) || md5('l' || id), id,
        CASE WHEN id % 2 = 0 THEN timestamptz 'infinity' END, true, CASE WHEN id % 4 = 0 THEN 'app_password' ELSE 'api' END
    FROM authentik_core_user;
-- Every third user is logged in, every sixth was: those sessions are over.
INSERT INTO authentik_core_session
    SELECT md5('session' || id), CASE WHEN id % 6 = 0 THEN timestamptz '2026-01-01 00:00+00' ELSE timestamptz '2099-01-01 00:00+00' END,
        true, decode(md5('data' || id) || '5c5c0a0900', 'hex'), '192.0.2.1', E'Agent\t\\', timestamptz '2026-01-01 00:00+00'
    FROM authentik_core_user WHERE id % 3 = 0;
INSERT INTO authentik_core_authenticatedsession
    SELECT md5('session' || id), md5('login' || id)::uuid, id FROM authentik_core_user WHERE id % 3 = 0;
INSERT INTO django_session VALUES (md5('bare'), 'data', timestamptz '2099-01-01 00:00+00');
INSERT INTO authentik_providers_oauth2_accesstoken (expires, expiring, revoked, token, user_id, session_id)
    SELECT timestamptz '2099-01-01 00:00+00', true, id % 2 = 0, 'access' || md5('a' || id), id, md5('session' || id)
    FROM authentik_core_user WHERE id % 3 = 0;
INSERT INTO authentik_providers_oauth2_refreshtoken (expires, expiring, revoked, token, user_id, session_id)
    SELECT timestamptz '2099-01-01 00:00+00', true, id % 2 = 0, 'refresh' || md5('r' || id), id, md5('session' || id)
    FROM authentik_core_user WHERE id % 3 = 0;
INSERT INTO authentik_providers_saml_samlsession
    SELECT md5('saml' || id)::uuid, timestamptz '2099-01-01 00:00+00', true, 'index', md5('session' || id), id
    FROM authentik_core_user WHERE id % 9 = 0;
INSERT INTO authentik_providers_proxy_proxysession
    SELECT md5('proxy' || id)::uuid, timestamptz '2099-01-01 00:00+00', true, md5('p' || id), uuid, '{{}}'
    FROM authentik_core_user WHERE id % 9 = 0;
INSERT INTO authentik_blueprints_blueprintinstance
    SELECT md5('bp' || n)::uuid, 'default/' || n || '.yaml', ({documents})[n % {docs} + 1],
        CASE n % 3 WHEN 0 THEN '{{}}'::text[] WHEN 1 THEN ({awkward})[1:9] ELSE ARRAY[NULL, 'NULL', '', '{{,}}', '"'] END
    FROM generate_series(1, 12) AS n;
INSERT INTO authentik_events_event
    SELECT md5('event' || n)::uuid, (ARRAY['login', 'login_failed', 'model_updated', 'authorize_application'])[n % 4 + 1],
        'authentik.events.' || n % 9, jsonb_build_object('n', n, 'noise', {blob}) || ({documents})[n % {docs} + 1],
        CASE n % 4 WHEN 0 THEN NULL WHEN 1 THEN '2001:db8::1'::inet + n WHEN 2 THEN '10.0.0.0/8'::inet ELSE '192.0.2.1'::inet + n % 50 END,
        timestamptz '2025-10-26 00:30+00' + n * interval '1 minute 0.000001 second',
        jsonb_build_object('pk', n % {users}, 'username', ({awkward})[n % {words} + 1]),
        timestamptz '2027-01-01 00:00+00', '{{}}'
    FROM generate_series(1, {rows}) AS n;
INSERT INTO authentik_events_notification
    SELECT md5('note' || n)::uuid, ({awkward})[n % {words} + 1], n % 2 = 0, md5('event' || n)::uuid, u.id
    FROM generate_series(1, LEAST({rows}, 50)) AS n JOIN authentik_core_user u ON u.username = 'user' || n % {users} + 1;
INSERT INTO django_postgres_cache_cacheentry
    SELECT 'key' || n, md5(n::text), timestamptz '2026-01-01 00:00+00' FROM generate_series(1, 30) AS n;
COMMIT;
