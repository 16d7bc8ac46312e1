# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names, ids, sizes: what operators type and read."""

from __future__ import annotations

import datetime

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _text
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError

NOW = datetime.datetime(2026, 11, 22, 3, 15, 0, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1610612736, "1.5 GiB"), (2**50 * 3000, "3000.0 PiB")],
)
def test_bytes_are_readable(number: int, text: str) -> None:
    assert _text.format_bytes(number) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0 files"), (1, "1 file"), (2, "2 files")])
def test_one_thing_is_singular(number: int, text: str) -> None:
    assert _text.count(number, "file") == text


@pytest.mark.parametrize(
    ("hint", "shown"),
    [
        ("install it, or name it", "No program. Install it, or name it. Next: which zstd"),
        ("Install it.", "No program. Install it. Next: which zstd"),
        ("postgresql_bin_dir names its folder", "No program. postgresql_bin_dir names its folder. Next: which zstd"),
        ("/usr/bin has it", "No program. /usr/bin has it. Next: which zstd"),
        ("", "No program. Next: which zstd"),
    ],
)
def test_an_error_is_whole_sentences(hint: str, shown: str) -> None:
    assert str(InputError("No program", hint, "which zstd")) == shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0.0 s"), (4.21, "4.2 s"), (185, "3 min 5 s"), (7800, "2 h 10 min"), (273600, "3 d 4 h")],
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    assert _text.format_duration(seconds) == text


@pytest.mark.parametrize(
    ("given", "size"),
    [("64M", 67108864), (4096, 4096), ("4096", 4096), ("1.5 GiB", 1610612736), ("2 kb", 2048), (" 1T ", 2**40)],
)
def test_sizes_are_understood(given: int | str, size: int) -> None:
    assert _text.parse_size(given) == size


@pytest.mark.parametrize("given", ["", "M", "-1", "0", 0, -5, "12X", "1,5G", True, "64 M B", "1e3"])
def test_what_is_no_size_is_refused(given: int | str) -> None:
    with pytest.raises(InputError, match="is not a size"):
        _text.parse_size(given)


def test_an_id_is_utc_and_sorts() -> None:
    east = NOW.astimezone(datetime.timezone(datetime.timedelta(hours=9)))
    assert _text.new_id(east, b"\x7f\x3a") == "20261122T031500Z-7f3a"


def test_a_clock_that_went_back_does_not_make_an_older_set_the_newest() -> None:
    newest = "20261122T031500Z-ffff"
    earlier = NOW - datetime.timedelta(days=400)
    for moment in (earlier, NOW):
        assert _text.new_id(moment, b"\0\0", after=newest) > newest
    assert _text.new_id(NOW + datetime.timedelta(days=1), b"\0\0", after=newest) == "20261123T031500Z-0000"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "latest",
        "..",
        "../20261122T031500Z-7f3a",
        "20261122T031500Z-7f3a/..",
        "20261122T031500Z-7f3a\n",
        "20261122T031500Z-7F3A",
        "20261122T031500Z",
        "20261322T031500Z-7f3a",
        "20261122T031500Z-7f3a.partial",
        "/etc/passwd",
        "20261122T031500Z-7f3\u0660",
    ],
)
def test_what_is_no_id_cannot_name_a_path(text: str) -> None:
    with pytest.raises(InputError, match="not the id of a backup set"):
        _text.check_id(text)


@pytest.mark.parametrize("name", ["sso", "sso-1.example.org", "_x", "-", "A1"])
def test_instance_names(name: str) -> None:
    assert _text.check_instance_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "/a", "a b", "ä", "a\n", "a\0", "../a"])
def test_instance_names_that_climb_or_hide_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="name of an instance"):
        _text.check_instance_name(name)
