# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The secret key's fingerprint, and the links on the way to a file."""

from __future__ import annotations

import hashlib

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _config
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import IntegrityError, StateError

KEY = "pässwörd with $ and \n"


def test_the_secret_key_is_recognised_and_not_shown() -> None:
    one, two = _config.fingerprint_secret_key(KEY), _config.fingerprint_secret_key(KEY)
    assert one["digest"] != two["digest"]
    assert KEY not in str(one)
    assert hashlib.sha256(KEY.encode()).hexdigest() not in str(one)
    assert one["iterations"] >= 300_000
    again = hashlib.pbkdf2_hmac("sha256", KEY.encode(), bytes.fromhex(one["salt"]), one["iterations"]).hex()
    assert (one["algorithm"], again) == ("pbkdf2_hmac_sha256", one["digest"])
    assert _config.compare_secret_key(one, KEY) == "same"
    assert _config.compare_secret_key(one, KEY + " ") == "different"
    assert _config.compare_secret_key(one, None) == "unknown"
    assert _config.compare_secret_key(None, KEY) == "unknown"
    assert _config.compare_secret_key(dict(one, algorithm="scrypt"), KEY) == "unknown"


LINKS = {
    "/lib": "usr/lib",
    "/etc/ak": "/opt/ak/etc",
    "/opt/ak/etc/env": "../secret/env",
    "/a": "b",
    "/b": "a",
    "/up": "../../x",
}


@pytest.mark.parametrize(
    ("path", "links", "real"),
    [
        ("/etc/plain", [], "/etc/plain"),
        ("/lib/systemd/x", ["/lib"], "/usr/lib/systemd/x"),
        ("/etc/ak/env", ["/etc/ak", "/opt/ak/etc/env"], "/opt/ak/secret/env"),
        ("/up/y", ["/up"], "/x/y"),
        ("/etc//./ak/../b", ["/etc/ak"], "/opt/ak/b"),
    ],
)
def test_links_on_the_way(path: str, links: list[str], real: str) -> None:
    assert _config.locate(path, LINKS.get) == (links, real)


def test_links_in_a_circle() -> None:
    with pytest.raises(StateError, match="too many symbolic links"):
        _config.locate("/a", LINKS.get)


@pytest.mark.parametrize("comment", ["", "zz", "00"])
def test_an_archive_without_its_key(comment: str) -> None:
    with pytest.raises(IntegrityError, match="lacks the key"):
        _config.archive_key(comment)
