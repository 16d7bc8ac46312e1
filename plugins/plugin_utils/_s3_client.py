# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The connection to an S3 endpoint: options, what they mean to boto3, and requests whose failures are told.

boto3 is needed only where a store or an instance's files lie in a bucket.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import ipaddress
import os
import shlex
import sys
import typing as t
import urllib.parse

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import parse_size
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_errors import OPTION, as_error
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_location import Location, is_location
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._s3_patience import Patience

__all__ = ["S3_SPEC", "Client", "Location", "as_error", "is_location", "library", "make_client"]

_REQUIREMENT = "boto3>=1.36"
_USER_AGENT = "authentik_ops.recovery"
_MIB = 1024**2
# What every endpoint accepts as the size of a part.
_PART_MIB = (5, 5 * 1024)
# Classes from which nothing can be read at once: what is saved is read back before it counts.
_ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")

# Requests whose body has to come with a digest, whatever is asked for otherwise.
_NEED_DIGEST = ("DeleteObjects", "PutObjectRetention")

#: One option that says how an endpoint is reached and how objects are kept; documented by the fragment C(store_s3).
S3_SPEC: dict[str, t.Any] = {
    "s3": {
        "type": "dict",
        "apply_defaults": True,
        "options": {
            "endpoint_url": {"type": "str"},
            "region": {"type": "str"},
            "profile": {"type": "str"},
            "access_key": {"type": "str", "no_log": False},
            "secret_key": {"type": "str", "no_log": True},
            "session_token": {"type": "str", "no_log": True},
            "ca_bundle": {"type": "path"},
            "allow_http": {"type": "bool", "default": False},
            "addressing_style": {"type": "str", "choices": ["auto", "path", "virtual"], "default": "auto"},
            "checksums": {"type": "str", "choices": ["auto", "when_supported", "when_required"], "default": "auto"},
            "storage_class": {"type": "str"},
            "server_side_encryption": {"type": "str", "choices": ["none", "AES256", "aws:kms"], "default": "none"},
            "kms_key_id": {"type": "str", "no_log": False},
            "object_lock_mode": {"type": "str", "choices": ["GOVERNANCE", "COMPLIANCE"]},
            "object_lock_days": {"type": "int"},
            "part_size": {"type": "str"},
            "parallel": {"type": "int", "default": 4},
            "retry_seconds": {"type": "int", "default": 120},
            "connect_timeout": {"type": "int", "default": 10},
            "read_timeout": {"type": "int", "default": 60},
        },
        "required_together": [("access_key", "secret_key"), ("object_lock_mode", "object_lock_days")],
        "required_by": {"session_token": ("access_key",)},
    }
}


def library() -> t.Any:
    """Return boto3.

    :raises InputError: when it is not installed for the Python that runs Ansible, or too old.
    """
    try:
        import boto3

        if tuple(int(part) for part in boto3.__version__.split(".")[:2]) < (1, 36):
            raise ImportError("this is version %s" % boto3.__version__)
    except ImportError as exc:
        raise InputError(
            "Stores in S3 need the Python package boto3 on the controller, 1.36 or newer: %s" % exc,
            "Install it for the Python that runs ansible-playbook; in an execution environment add it to its image",
            "%s -m pip install %s" % (shlex.quote(sys.executable), shlex.quote(_REQUIREMENT)),
        ) from exc
    return boto3


def options_of(given: t.Mapping[str, t.Any] | None) -> dict[str, t.Any]:
    """Return the options with their defaults, checked as far as they can be without a connection.

    :raises InputError: naming the one that cannot be used.
    """
    spec = S3_SPEC["s3"]["options"]
    set_ones = {name: value for name, value in (given or {}).items() if value is not None and value != ""}
    unknown = sorted(set(set_ones) - set(spec))
    if unknown:
        raise InputError("The option s3 has no %s" % ", ".join(unknown), "It has: %s" % ", ".join(sorted(spec)))
    # Nobody else has looked at what stands within backup_set.
    checked = ArgumentSpecValidator(spec).validate(set_ones)
    if checked.error_messages:
        raise InputError("The option s3 cannot be used: %s" % "; ".join(checked.error_messages))
    options: dict[str, t.Any] = checked.validated_parameters
    for name in ("connect_timeout", "read_timeout", "parallel"):
        _within(options, name, 1, 64 if name == "parallel" else 3600)
    _within(options, "retry_seconds", 0, 3600)
    if bool(options["access_key"]) != bool(options["secret_key"]):
        raise InputError("s3.access_key and s3.secret_key belong together", "Give both, or none of them")
    if (options["object_lock_mode"] is None) != (options["object_lock_days"] is None):
        raise InputError("object_lock_mode and object_lock_days of the option s3 belong together", "Give both, or none")
    if options["object_lock_days"] is not None:
        _within(options, "object_lock_days", 1, 36500)
    if options["kms_key_id"] and options["server_side_encryption"] != "aws:kms":
        raise InputError(
            "kms_key_id of the option s3 is for server_side_encryption aws:kms, which is %s"
            % options["server_side_encryption"],
            "Set that, or leave the key out",
        )
    if str(options["storage_class"]).upper() in _ARCHIVES:
        raise InputError(
            "storage_class %s of the option s3 cannot be read at once" % options["storage_class"],
            "Sets are read back before they count. Choose a class that can be read, and have a lifecycle rule of the "
            "bucket move old sets if they may take hours to come back",
        )
    if options["part_size"]:
        options["part_size"] = _part_size(options["part_size"])
    if options["ca_bundle"] and not os.path.isfile(options["ca_bundle"]):
        raise InputError("ca_bundle of the option s3, %s, is no file" % options["ca_bundle"], "Correct its path")
    return options


def _within(options: dict[str, t.Any], name: str, least: int, most: int) -> None:
    if not least <= options[name] <= most:
        raise InputError("%s of the option s3 is %s" % (name, options[name]), "It is from %d to %d" % (least, most))


def _part_size(value: t.Any) -> int:
    size = parse_size(value)
    if not _PART_MIB[0] * _MIB <= size <= _PART_MIB[1] * _MIB:
        raise InputError("part_size of the option s3 is %s" % value, "It is from %dM to %dM" % _PART_MIB)
    return size


class Client:
    """A connection to an endpoint, which threads may share.

    :ivar raw: boto3's own client.
    :ivar options: all of the option s3, with defaults.
    :ivar option: the name of the option that they were given by, for errors.
    :ivar endpoint: the address.
    :ivar checksums: C(when_supported) or C(when_required).
    """

    def __init__(
        self, raw: t.Any, options: dict[str, t.Any], checksums: str, patience: Patience, option: str = OPTION
    ) -> None:
        self.raw = raw
        self.options = options
        self.option = option
        self.endpoint: str = raw.meta.endpoint_url
        self.checksums = checksums
        self.patience = patience

    def call(self, operation: str, doing: str, what: str, **arguments: t.Any) -> dict[str, t.Any]:
        """Do one request, repeated while it may still succeed, and return what was answered.

        :param operation: as in C(put_object).
        :param doing: what it is for, as in C(write).
        :param what: the object or place, for errors.
        :raises RecoveryError: what went wrong.
        """
        with self.telling(doing, what):
            answer: dict[str, t.Any] = getattr(self.raw, operation)(**arguments)
        return answer

    @contextlib.contextmanager
    def telling(self, doing: str, what: str) -> t.Iterator[None]:
        """Have what boto3 raises told to an operator."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        try:
            yield
        except (BotoCoreError, ClientError, Boto3Error, ResponseParserError) as exc:
            raise as_error(exc, doing, what, self.endpoint, self.option) from exc

    def kept_as(self) -> dict[str, t.Any]:
        """Return the arguments that say how a new object is kept."""
        arguments: dict[str, t.Any] = {}
        if self.options["storage_class"]:
            arguments["StorageClass"] = self.options["storage_class"]
        if self.options["server_side_encryption"] != "none":
            arguments["ServerSideEncryption"] = self.options["server_side_encryption"]
        if self.options["kms_key_id"]:
            arguments["SSEKMSKeyId"] = self.options["kms_key_id"]
        return arguments


def make_client(
    given: t.Mapping[str, t.Any] | None, show: t.Callable[[str], t.Any] | None = None, option: str = OPTION
) -> Client:
    """Return a connection. Nothing is asked of the endpoint yet.

    :param given: the option s3; what is unset comes from boto3's own environment and files.
    :param show: gets a line when a request has to be repeated, at most one every few seconds.
    :param option: the name of the option, where it is another one.
    :raises InputError: when an option cannot be used, or boto3 is missing.
    """
    boto3 = library()
    options = options_of(given)
    from botocore.exceptions import BotoCoreError

    place = options["endpoint_url"] or "the S3 endpoint"
    try:
        session = boto3.Session(
            aws_access_key_id=options["access_key"],
            aws_secret_access_key=options["secret_key"],
            aws_session_token=options["session_token"],
            region_name=options["region"],
            profile_name=options["profile"],
        )
        # Without the option it is up to the environment and the configuration, which only boto3 reads right.
        endpoint = options["endpoint_url"] or session.client("s3").meta.endpoint_url
        _check_endpoint(endpoint, options)
        checksums = _checksums(options["checksums"], endpoint, session)
        raw = session.client(
            "s3",
            endpoint_url=options["endpoint_url"],
            verify=options["ca_bundle"],
            config=_configuration(options, checksums),
        )
    except (BotoCoreError, ValueError) as exc:
        raise as_error(exc, "connect to", place, options["endpoint_url"] or "") from exc
    patience = Patience(options["retry_seconds"], show, endpoint)
    raw.meta.events.register_first("needs-retry.s3", patience.needs_retry)
    if checksums == "when_required":
        for operation in _NEED_DIGEST:
            raw.meta.events.register_last("before-sign.s3.%s" % operation, _use_md5)
    return Client(raw, options, checksums, patience, option)


def _check_endpoint(endpoint: str, options: dict[str, t.Any]) -> None:
    address = urllib.parse.urlsplit(endpoint)
    hint = "Write it as https://HOST or https://HOST:PORT"
    if address.scheme not in ("http", "https") or not address.hostname:
        raise InputError("endpoint_url of the option s3 is %r" % endpoint, hint)
    if address.username or address.password:
        raise InputError(
            "endpoint_url of the option s3 carries credentials", "Give them as s3.access_key and s3.secret_key"
        )
    if address.scheme == "http" and not _is_loopback(address.hostname) and not options["allow_http"]:
        raise InputError(
            "The S3 endpoint %s has no TLS: who is on the way reads and alters what is saved" % endpoint,
            "%s. Where that way is safe, set allow_http of the option s3" % hint,
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_aws(endpoint: str) -> bool:
    """Tell whether an address is one of AWS itself."""
    host = urllib.parse.urlsplit(endpoint).hostname or ""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu"))


def _checksums(wanted: str, endpoint: str, session: t.Any) -> str:
    """Return which requests carry a checksum beside their signature.

    Where they do, over TLS, it follows the body as a trailer, which many endpoints but AWS's refuse. Where they do not,
    the signature covers the SHA-256 of the body, which every endpoint has to check.
    """
    if wanted != "auto":
        return wanted
    configured = os.environ.get("AWS_REQUEST_CHECKSUM_CALCULATION") or session._session.get_scoped_config().get(
        "request_checksum_calculation"
    )
    if configured and configured.lower() in ("when_supported", "when_required"):
        return str(configured.lower())
    return "when_supported" if is_aws(endpoint) else "when_required"


def _use_md5(request: t.Any, **_more: t.Any) -> None:
    """Give a request the digest that older endpoints want, in place of the one that only newer ones know."""
    for name in ("x-amz-checksum-crc32", "x-amz-sdk-checksum-algorithm"):
        del request.headers[name]
    digest = hashlib.md5(request.body, usedforsecurity=False).digest()
    del request.headers["Content-MD5"]
    request.headers["Content-MD5"] = base64.b64encode(digest).decode("ascii")


def _configuration(options: dict[str, t.Any], checksums: str) -> t.Any:
    from botocore.config import Config

    s3: dict[str, t.Any] = {}
    if options["addressing_style"] != "auto":
        s3["addressing_style"] = options["addressing_style"]
    if checksums == "when_required":
        s3["payload_signing_enabled"] = True
    return Config(
        signature_version="s3v4",
        connect_timeout=options["connect_timeout"],
        read_timeout=options["read_timeout"],
        max_pool_connections=options["parallel"] + 4,
        tcp_keepalive=True,
        user_agent_extra=_USER_AGENT,
        request_checksum_calculation=checksums,
        # What is read is compared with the manifest, piece by piece and across broken connections.
        response_checksum_validation="when_required",
        # Patience decides which requests are repeated.
        retries={"mode": "standard", "total_max_attempts": 1},
        s3=s3,
    )
