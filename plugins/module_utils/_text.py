# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Words and numbers as an operator reads and types them: sizes, durations, names, set ids."""

from __future__ import annotations

import datetime
import re
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError

ID_PATTERN = r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{4}"

_ID_TIME = "%Y%m%dT%H%M%SZ"
_INSTANCE_PATTERN = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_SECONDS = {"h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGTP]?)(?:i?B)?\s*", re.IGNORECASE)


def format_bytes(number: float) -> str:
    """Return a size in bytes as text with binary units: C(512 B), C(1.5 GiB)."""
    value = float(number)
    for unit in _UNITS[:-1]:
        if abs(value) < 1024:
            return "%d B" % value if unit == "B" else "%.1f %s" % (value, unit)
        value /= 1024
    return "%.1f %s" % (value, _UNITS[-1])


def count(number: int, noun: str) -> str:
    """Return a number of things as text: C(1 file), C(2 files)."""
    return "%d %s%s" % (number, noun, "" if number == 1 else "s")


def format_duration(seconds: float) -> str:
    """Return a duration in seconds as text: C(4.2 s), C(3 min 5 s), C(2 h 10 min), C(3 d 4 h)."""
    if seconds < 60:
        return "%.1f s" % max(seconds, 0.0)
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return "%d min %d s" % (minutes, rest)
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return "%d h %d min" % (hours, minutes)
    return "%d d %d h" % divmod(hours, 24)


def format_utc(moment: datetime.datetime) -> str:
    """Return an aware moment as C(2026-11-22T03:15:00Z)."""
    return moment.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_utc(text: str) -> datetime.datetime:
    """Return the aware moment that :func:`format_utc` wrote.

    :raises ValueError: when the text has another form.
    """
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc)


def new_id(now: datetime.datetime, entropy: bytes, after: str = "") -> str:
    """Return an id such as C(20261122T031500Z-7f3a).

    :param now: an aware moment.
    :param entropy: at least two random bytes.
    :param after: an existing id that the new one has to sort after, so that a clock that went
        back does not make an older set look like the newest.
    """
    moment = now.astimezone(datetime.timezone.utc)
    if after:
        following = id_time(after) + datetime.timedelta(seconds=1)
        moment = max(moment, following)
    return "%s-%s" % (moment.strftime(_ID_TIME), entropy[:2].hex())


def id_time(set_id: str) -> datetime.datetime:
    """Return the aware moment an id was made at."""
    return datetime.datetime.strptime(check_id(set_id)[:16], _ID_TIME).replace(tzinfo=datetime.timezone.utc)


def is_id(text: str) -> bool:
    """Tell whether the text is an id: the right form and a moment that exists."""
    if re.fullmatch(ID_PATTERN, text) is None:
        return False
    try:
        datetime.datetime.strptime(text[:16], _ID_TIME)
    except ValueError:
        return False
    return True


def check_id(text: str) -> str:
    """Return the id unchanged.

    :raises InputError: when it is not an id, and therefore could name another path than a set.
    """
    if not is_id(text):
        raise InputError(
            "%r is not the id of a backup set" % text,
            "An id looks like 20261122T031500Z-7f3a; no path and no other name is accepted",
            "ansible-playbook authentik_ops.recovery.list",
        )
    return text


def check_instance_name(text: str) -> str:
    """Return the instance name unchanged.

    :raises InputError: when it could climb out of the store or hide in it.
    """
    if re.fullmatch(_INSTANCE_PATTERN, text) is None:
        raise InputError(
            "%r cannot be the name of an instance" % text,
            "Use letters, digits, '.', '_' and '-' only, with no slash and no leading '.'",
        )
    return text


def parse_size(value: t.Union[int, str]) -> int:
    """Return a number of bytes from an integer or from text such as C(64M), C(1.5 GiB), C(4096).

    :raises InputError: when it is not a positive size.
    """
    match = None if isinstance(value, bool) else _SIZE.fullmatch(str(value))
    size = 0
    if match is not None:
        size = int(float(match.group(1)) * 1024 ** " KMGTP".index((match.group(2) or " ").upper()))
    if size <= 0:
        raise InputError("%r is not a size" % (value,), "Write a number of bytes, or a number with K, M, G or T: 64M")
    return size


def parse_duration(text: str) -> int:
    """Return the seconds of a duration such as C(36h), C(30d), C(8w) or C(2y); a year has 365 days.

    :raises InputError: when it is none.
    """
    match = re.fullmatch(r"\s*([0-9]{1,6})\s*([hdwy])\s*", str(text))
    if match is None:
        raise InputError("%r is not a duration" % (text,), "Write a number with h, d, w or y, as in 36h, 30d, 8w, 2y")
    return int(match.group(1)) * _SECONDS[match.group(2)]
