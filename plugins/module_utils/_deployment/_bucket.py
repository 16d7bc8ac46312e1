# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The bucket of an instance whose files lie in S3, as plain values. Keys stay out of ``repr()`` and descriptions."""

from __future__ import annotations

from dataclasses import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@dataclass(frozen=True)
class ObjectStorage:
    """The bucket that holds the instance's uploaded files.

    :param folders: what of the bucket is the instance's: ``media`` and ``reports`` from 2025.12 on. Before that, for
        which this is empty, it is the folders of its tenants.
    :param default_schema: the folder of the default tenant, in each of those, is called like its schema.
    :param endpoint: the address as the host reaches it; empty for AWS.
    :param profile: of the AWS files of whoever runs authentik.
    :param problem: why it cannot be saved as it is; empty where it can.
    """

    bucket: str
    folders: tuple[str, ...] = ()
    default_schema: str = "public"
    endpoint: str = ""
    region: str = ""
    addressing_style: str = ""
    profile: str = ""
    problem: str = ""
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)

    def describe(self) -> dict[str, Any]:
        """Return the settings without keys."""
        return {
            "bucket": self.bucket,
            "folders": list(self.folders),
            "endpoint": self.endpoint,
            "region": self.region,
            "profile": self.profile,
            "keys_set": bool(self.access_key and self.secret_key),
        }

    def connection(self) -> dict[str, str]:
        """Return what it takes to connect, keys included, by the names of the option ``storage_s3``."""
        found = {
            "bucket": self.bucket,
            "endpoint_url": self.endpoint,
            "region": self.region,
            "addressing_style": self.addressing_style,
            "profile": self.profile,
            "access_key": self.access_key,
            "secret_key": self.secret_key,
            "session_token": self.session_token,
        }
        return {name: value for name, value in found.items() if value}
