# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Places in a bucket: ``s3://bucket/prefix``, and the keys below them. Pure."""

from __future__ import annotations

import dataclasses
import ipaddress
import re

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError

SCHEME = "s3://"
# Of a key, in bytes of UTF-8; what comes below a prefix needs room.
MAX_KEY = 1024
_MAX_PREFIX = 512
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_NOT_PRINTABLE = re.compile(r"[\x00-\x1f\x7f\\]")


def is_location(text: str) -> bool:
    """Tell whether a store is meant to lie in a bucket, however wrong the rest of it is."""
    return text.strip().lower().startswith("s3:")


@dataclasses.dataclass(frozen=True)
class Location:
    """A prefix in a bucket.

    :ivar bucket: its name.
    :ivar prefix: without a slash at its ends; empty for the whole bucket.
    """

    bucket: str
    prefix: str = ""

    @classmethod
    def parse(cls, text: str) -> Location:
        """Return the place that C(s3://bucket/prefix) names.

        :raises InputError: when it names none, or carries what does not belong into it.
        """
        text = text.strip()
        if not text.startswith(SCHEME):
            raise InputError("%r is no place in a bucket" % _shown(text), "Write it as s3://BUCKET/PREFIX")
        bucket, _slash, prefix = text[len(SCHEME) :].partition("/")
        if "@" in bucket:
            raise InputError(
                "The place in a bucket %r carries credentials" % _shown(text),
                "Take them out of it, and give them as s3.access_key and s3.secret_key, as a profile, or in "
                "the environment. Whoever saw this one may know them: replace them",
            )
        if "?" in text or "#" in text:
            raise InputError(
                "The place in a bucket %r has more than a bucket and a prefix" % text,
                "Region, endpoint and the like are given in the option s3, and a prefix may hold neither ? nor #",
            )
        _check_bucket(bucket, text)
        prefix = prefix.strip("/")
        _check_key(prefix, "The prefix of %r" % text, _MAX_PREFIX)
        return cls(bucket, prefix)

    def __str__(self) -> str:
        return SCHEME + self.bucket + ("/" + self.prefix if self.prefix else "")

    def url(self, relative: str) -> str:
        """Return how an operator writes the object of that name below the prefix."""
        return "%s/%s" % (self, relative)

    def key(self, relative: str) -> str:
        """Return the key of the object of that name below the prefix.

        :param relative: as in C(sso/20261122T031500Z-7f3a/manifest.json).
        :raises InputError: when it would lead elsewhere, or is too long.
        """
        key = self.prefix + "/" + relative if self.prefix else relative
        if not relative:
            raise InputError("An object below %s has an empty name" % self)
        _check_key(key, "The name of the object %r" % key, MAX_KEY)
        return key

    def flaw(self, relative: str) -> str:
        """Return what is wrong with the name of an object below the prefix; empty where it can be handled."""
        if relative.endswith("/"):
            return "ends in a slash, as that of a folder does"
        found = _flaw(self.prefix + "/" + relative if self.prefix else relative, MAX_KEY)
        return found[0] if found else ""

    def below(self, relative: str) -> str:
        """Return with what the keys of a folder begin: its name and a slash; empty for all of a bucket."""
        return self.key(relative.strip("/")) + "/" if relative.strip("/") else self.prefix and self.prefix + "/"

    def relative(self, key: str) -> str:
        """Return the name below the prefix of a key that begins with it."""
        return key[len(self.prefix) + 1 :] if self.prefix else key


def _check_bucket(bucket: str, text: str) -> None:
    if not _BUCKET.fullmatch(bucket) or ".." in bucket or _is_address(bucket):
        raise InputError(
            "%r in %r is no name of a bucket" % (bucket, text),
            "It has 3 to 63 lower-case letters, digits, dots and hyphens, and begins and ends with a letter or digit. "
            "The address of a server belongs into endpoint_url of the option s3",
        )


def _check_key(key: str, label: str, limit: int) -> None:
    found = _flaw(key, limit)
    if found:
        raise InputError("%s %s" % (label, found[0]), found[1])


def _flaw(key: str, limit: int) -> tuple[str, str] | None:
    """Return what is wrong with a key, and what to do where it was typed."""
    if _NOT_PRINTABLE.search(key):
        return "holds a control character or a backslash", "Leave it out"
    # Tools that copy a bucket to a disk would take them for folders.
    if any(part in ("", ".", "..") for part in key.split("/")) and key:
        return "has an empty part, or one of dots", "Write each folder once: a/b, not a//b or a/../b"
    if len(key.encode("utf-8", "surrogateescape")) > limit:
        return "is longer than %d bytes" % limit, "Choose a shorter one"
    return None


def _is_address(bucket: str) -> bool:
    try:
        ipaddress.ip_address(bucket)
    except ValueError:
        return False
    return True


def _shown(text: str) -> str:
    """Return the text without what stands where credentials would: errors are logged."""
    return re.sub(r"//[^/@]*@", "//...@", text)
