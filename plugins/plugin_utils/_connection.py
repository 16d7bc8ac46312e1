# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The connection that artifacts travel over: without compression, whatever the user's ssh arguments say.

Artifacts are compressed already, and zlib would be by far the slowest part of the way. Compression
belongs to the ssh master process, so a connection of its own is needed, with its own control path.
"""

from __future__ import annotations

import hashlib
import shlex
import typing as t

from ansible.plugins.loader import connection_loader

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError

# The one-letter options that take a value.
_WITH_VALUE = {"ssh": "BbcDEeFIiJLlmOoPpQRSWw", "sftp": "BbcDFiJloPRSsX", "scp": "cDFiJloPSX"}
_DROPPED_KEYWORDS = frozenset(("compression", "compressionlevel", "controlpath"))
_SSH_ARGUMENTS = ("ssh_common_args", "ssh_extra_args")
_TRANSFER_ARGUMENTS = ("sftp_extra_args", "scp_extra_args")


def without_compression(arguments: str, program: str = "ssh") -> list[str]:
    """Return the arguments without those that compress or share a connection that may.

    Removes C(-C), also within clustered flags such as C(-4C), C(-o Compression=...) in each spelling,
    and control paths (C(-S), C(-o ControlPath=...)).

    :param program: ssh, sftp or scp, whose flags differ.
    :raises InputError: when a quote is not closed.
    """
    try:
        tokens = shlex.split(arguments)
    except ValueError as exc:
        raise InputError(
            "The ssh arguments %r cannot be read: %s" % (arguments, exc),
            "Close the quote in ssh_args, ssh_common_args or ssh_extra_args",
        ) from exc
    kept: list[str] = []
    position = 0
    while position < len(tokens):
        token = tokens[position]
        position += 1
        if not token.startswith("-") or len(token) < 2 or token == "--":
            kept.append(token)
            continue
        flags, option, value = _split_cluster(token, program)
        if option and value is None and position < len(tokens):
            value = tokens[position]
            position += 1
        if flags:
            kept.append("-" + flags)
        if option and not _is_dropped(option, value or "", program):
            kept.append("-" + option)
            kept += [] if value is None else [value]
    return kept


def _split_cluster(token: str, program: str) -> tuple[str, str, str | None]:
    """Return flags without C, the option that takes a value, and that value when it is in the token."""
    flags = ""
    for index, char in enumerate(token[1:], start=1):
        if char in _WITH_VALUE[program]:
            return flags, char, token[index + 1 :] or None
        if char != "C":
            flags += char
    return flags, "", None


def _is_dropped(option: str, value: str, program: str) -> bool:
    if option == "S":
        # In sftp and scp it names the ssh program.
        return program == "ssh"
    keyword = value.replace("=", " ").strip().split(" ", 1)[0].strip().lower()
    return option == "o" and keyword in _DROPPED_KEYWORDS


def plain_ssh_options(options: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return the options of an ssh connection changed so that it never compresses nor shares a compressing master.

    :param options: values of the ssh connection plugin's options, by name.
    """
    changed = dict(options)
    arguments = {name: without_compression(options.get(name) or "") for name in ("ssh_args", *_SSH_ARGUMENTS)}
    for name in _TRANSFER_ARGUMENTS:
        changed[name] = shlex.join(without_compression(options.get(name) or "", name.split("_", maxsplit=1)[0]))
    persistent = any("controlpersist" in token.lower() for tokens in arguments.values() for token in tokens)
    arguments["ssh_args"] = ["-o", "Compression=no", *arguments["ssh_args"]]
    if not persistent:
        # A master that the user's own ssh configuration offers may compress.
        arguments["ssh_args"] += ["-o", "ControlPath=none"]
    changed.update({name: shlex.join(tokens) for name, tokens in arguments.items()})
    identity = [str(options.get(name)) for name in ("host", "port", "remote_user", "private_key_file", *arguments)]
    changed["control_path"] = "%(directory)s/" + hashlib.sha256("\0".join(identity).encode()).hexdigest()[:12]
    return changed


def streaming_connections(connection: t.Any, play_context: t.Any, lanes: int) -> tuple[t.Any, list[t.Any]]:
    """Return the connection for artifacts and further ones that threads may use.

    For ssh these are connections of their own, which share one uncompressed master. Every other plugin is used as
    it is, and by one thread only.
    """
    if not connection.matches_name(["ssh", "ansible.builtin.ssh", "ansible.legacy.ssh"]):
        return connection, []
    options = connection.get_options()
    options["host"] = options.get("host") or play_context.remote_addr
    options = plain_ssh_options(options)
    plain = []
    for _number in range(1 + lanes):
        made = connection_loader.get("ansible.builtin.ssh", play_context)
        made.set_options(direct=options)
        plain.append(made)
    return plain[0], plain[1:]
