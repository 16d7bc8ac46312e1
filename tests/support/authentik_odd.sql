-- Copyright (c) 2026 the authentik_ops.recovery contributors
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- Rows of the table that is not authentik's: see authentik_shared.sql.

INSERT INTO "Odd ""Table"" näme"
        (double_value, real_value, exact, at, local, length, day, data, net, tags, matrix, doc, span, bits, "double")
    VALUES
    (0.1 + 0.2::double precision, 1.1, 1.100, '2026-03-29 01:59:59.999999+01', '2026-10-25 02:30', '1 year -3 days 04:05:06.789',
     '0044-03-15 BC', '\x00ff5c27', '10.1.0.0/16', ARRAY['a', NULL, '', '\'], '{{1,2},{3,4}}', '{"b" : 1,  "a":[1.0, 1.00] }',
     '[2026-01-01 00:00+00,)', B'10110', 21),
    ('NaN', 'Infinity', 'NaN', 'infinity', '-infinity', '-1 mons', 'infinity', '', '::/0', '{}', NULL, '"x"', 'empty', B'', -1),
    (1e-320, -0.0, 1e100, '1883-11-18 12:03:58+00', NULL, '00:00:00', NULL, NULL, NULL, NULL, NULL, 'null', NULL, NULL, NULL),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
