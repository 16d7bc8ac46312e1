# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which directories are saved, what their absence means, and what a tree digest notices."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _mounts, _static, _static_restore
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._static_places import Here
from ansible_collections.authentik_ops.recovery.plugins.module_utils._tree_digest import (
    Entry,
    TreeDigest,
    differences,
    from_printable,
    leads_outside,
    printable,
)

KNOWN = [("media", "/o/media", "config"), ("certs", "/certs", "default"), ("blueprints", "/o/blueprints/", "default")]


def required(**changes: Any) -> dict[str, bool]:
    options = {
        "known": [("data", "/data", "x"), *KNOWN],
        "storage_backend": "file",
        "extra_paths": {"logo": "/srv/logo"},
        "components": None,
        "missing": "auto",
    }
    targets = _static.choose_targets(**{**options, **changes})
    return {target.component: target.required for target in targets}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"data", "media", "extra-logo"}),
        ({"storage_backend": None}, {"data", "media", "extra-logo"}),
        ({"storage_backend": "s3"}, {"extra-logo"}),
        ({"missing": "error"}, {"data", "media", "certs", "blueprints", "extra-logo"}),
        ({"missing": "warn"}, set()),
    ],
)
def test_what_a_missing_directory_is(changes: dict[str, Any], expected: set[str]) -> None:
    assert {name for name, needed in required(**changes).items() if needed} == expected


def test_components_choose() -> None:
    assert list(required(components=["certs", "extra-logo"])) == ["certs", "extra-logo"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"components": ["custom-templates"]}, r"directories: \{custom_templates: /path\}"),
        (
            {"components": ["templates"]},
            "no component templates.*Known here: data, media, certs, blueprints, extra-logo",
        ),
        ({"extra_paths": {"a/b": "/x"}}, "'a/b' cannot name a component"),
        ({"extra_paths": {"..": "/x"}}, "cannot name a component"),
        ({"extra_paths": {"a": "x/y"}}, "'x/y', which is not absolute"),
    ],
)
def test_unusable_choices(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        required(**changes)


def test_a_directory_within_another_is_saved_once() -> None:
    known = [("data", "/d", "x"), ("certs", "/d/certs", "x"), ("media", "/d", "x"), ("blueprints", "/data2", "x")]
    targets = _static.nest(_static.choose_targets(known, "file", {}, None, "auto"))
    assert {target.component: target.inside for target in targets} == {
        "data": "",
        "certs": "data",
        "media": "data",
        "blueprints": "",
    }


FSTAB = "# /x\n/dev/sda1 / ext4 defaults 0 1\nnas:/a /srv/auth\\040entik nfs _netdev 0 0\n\nbroken\n"
MOUNTED = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"


@pytest.mark.parametrize(
    ("path", "mounted", "place"),
    [
        ("/srv/auth entik", MOUNTED, "/srv/auth entik"),
        ("/srv/auth entik/media", MOUNTED, "/srv/auth entik"),
        ("/srv/auth entik2", MOUNTED, ""),
        ("/opt", MOUNTED, ""),
        ("/srv/auth entik/media", MOUNTED + "30 22 0:40 / /srv/auth\\040entik rw - nfs nas:/a rw\n", ""),
    ],
)
def test_a_file_system_that_should_be_mounted_is_noticed(path: str, mounted: str, place: str) -> None:
    assert _mounts.unmounted(path, FSTAB, mounted) == place


BASE = Entry(b"a", "f", 0o644, 1, 2, 3, 4, b"", ((b"user.a", b"1"),))
CHANGES: dict[str, dict[str, Any]] = {
    "path": {"path": b"b"},
    "kind": {"kind": "l"},
    "mode": {"mode": 0o4644},
    "uid": {"uid": 2},
    "gid": {"gid": 1},
    "mtime": {"mtime_ns": 4},
    "size": {"size": 5},
    "target": {"target": b"x"},
    "attribute": {"xattrs": ((b"user.a", b"2"),)},
    "attribute name": {"xattrs": ((b"user.", b"a1"),)},
    "no attribute": {"xattrs": ()},
}


def digest(*entries: Entry, content: bytes = b"c" * 32, key: bytes | None = None) -> str:
    tree = TreeDigest()
    for entry in entries:
        tree.add(entry, content)
    return str(tree.fingerprint(key)["digest"])


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_the_digest_notices(change: str) -> None:
    assert digest(BASE) != digest(BASE._replace(**CHANGES[change]))


def test_the_digest_notices_content_and_key_but_no_order_and_no_selinux_label() -> None:
    other = BASE._replace(path=b"z")
    assert digest(BASE) != digest(BASE, content=b"d" * 32)
    assert digest(BASE) != digest(BASE, key=b"k")
    assert digest(BASE, other) == digest(other, BASE)
    assert digest(BASE) == digest(BASE._replace(xattrs=(*BASE.xattrs, (b"security.selinux", b"label"))))


def test_the_digest_tells_two_equal_files_from_two_names_of_one() -> None:
    linked, reverse = TreeDigest(), TreeDigest()
    linked.add(BASE, b"c" * 32)
    linked.add_name(b"b", b"a")
    reverse.add(BASE._replace(path=b"b"), b"c" * 32)
    reverse.add_name(b"a", b"b")
    assert linked.fingerprint() == reverse.fingerprint()
    assert linked.fingerprint()["files"] == 2
    assert linked.fingerprint()["digest"] != digest(BASE, BASE._replace(path=b"b"))


def test_differences_name_counts_and_digest() -> None:
    one = TreeDigest()
    one.add(BASE, b"c" * 32)
    assert differences(one.fingerprint(), one.fingerprint()) == []
    said = differences(one.fingerprint(), TreeDigest().fingerprint())
    assert said[:2] == ["files: expected 1, found 0", "bytes: expected 4, found 0"]
    assert differences(one.fingerprint(), dict(one.fingerprint(), formula="other"))[0].startswith("digest formula")


@pytest.mark.parametrize(
    ("path", "target", "outside"),
    [
        (b"a", b"b", False),
        (b"a", b"./b//c", False),
        (b"a", b"", False),
        (b"d/a", b"../b", False),
        (b"d/a", b"..", False),
        (b"a", b"..", True),
        (b"d/a", b"../../b", True),
        (b"d/a", b"../d/../b", True),
        (b"a", b"/b", True),
    ],
)
def test_which_links_lead_outside(path: bytes, target: bytes, outside: bool) -> None:
    assert leads_outside(path, target) is outside


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"a b", "a b"),
        ("ü/✓".encode(), "ü/✓"),
        (b"\xff%\n", "%FF%25%0A"),
        ("\u202ex".encode(), "%E2%80%AEx"),
        (b"%41", "%2541"),
    ],
)
def test_names_are_shown_so_that_they_can_be_read_back(raw: bytes, text: str) -> None:
    assert printable(raw) == text
    assert from_printable(text) == raw


RECORDS: dict[str, dict[str, Any]] = {
    "media": {"component": "media", "path": "/m", "artifacts": [{"path": "static/media.tar.gz"}]},
    "certs": {"component": "certs", "path": "/m/certs", "artifacts": [], "state": "inside", "inside": "media"},
    "blueprints": {"component": "blueprints", "path": "/b", "artifacts": [], "state": "missing"},
    "postgresql": {"component": "postgresql", "artifacts": []},
}
MANIFEST: dict[str, Any] = {"components": RECORDS, "artifacts": [{"path": "static/media.tar.gz", "component": "media"}]}


def test_what_a_set_offers() -> None:
    records, said = _static_restore.choose(MANIFEST, None)
    assert [record["component"] for record in records] == ["media"]
    assert [sentence.split(":")[0] for sentence in said] == ["blueprints", "certs"]
    with pytest.raises(InputError, match="certs was saved within media"):
        _static_restore.choose(MANIFEST, ["certs"])
    with pytest.raises(InputError, match=r"holds no directory redis. It holds: blueprints, certs, media"):
        _static_restore.choose(MANIFEST, ["redis"])


def test_where_a_component_goes() -> None:
    records = [RECORDS["media"]]
    places = [
        _static_restore.make_work(records, paths, Here(known), "ID")[0].parts[0].place.live
        for paths, known in [({}, {}), ({}, {"media": "/known"}), ({"media": "/option"}, {"media": "/known"})]
    ]
    assert places == ["/m", "/known", "/option"]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ({"certs": "/x"}, "paths names certs, which is not restored"),
        ({"media": "relative"}, "cannot be restored to 'relative'"),
        ({"media": "/"}, "cannot be restored to '/'"),
        ({"media": "/b/x"}, "media would be restored to /b/x, which is not apart from /b"),
    ],
)
def test_places_that_cannot_be(paths: dict[str, str], message: str) -> None:
    records = [RECORDS["media"], dict(RECORDS["blueprints"])]
    with pytest.raises(InputError, match=message):
        _static_restore.make_work(records[: 2 if "/b/x" in paths.values() else 1], paths, Here({}), "ID")
