# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Artifacts never travel through ssh compression, whatever the user's arguments say."""

from __future__ import annotations

import shlex

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import InputError
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _connection, _progress


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", []),
        ("-C -o ControlMaster=auto -o ControlPersist=60s", ["-o", "ControlMaster=auto", "-o", "ControlPersist=60s"]),
        ("-4C", ["-4"]),
        ("-C4 -v", ["-4", "-v"]),
        ("-CCv", ["-v"]),
        ("-o Compression=yes", []),
        ('-o "Compression yes"', []),
        ("-oCompression=yes -oPort=22", ["-o", "Port=22"]),
        ("-vCo Compression=yes", ["-v"]),
        ("-o compression=YES -o CompressionLevel=9", []),
        ("-o ControlPath=/tmp/%r@%h -S /tmp/x -S/tmp/y", []),
        ("-i /home/C/key -p 2222", ["-i", "/home/C/key", "-p", "2222"]),
        ("-iC -C", ["-i", "C"]),
        ("-l C", ["-l", "C"]),
        (
            "-J jump.example.org,C -o ProxyCommand='ssh -C -W %h:%p jump'",
            ["-J", "jump.example.org,C", "-o", "ProxyCommand=ssh -C -W %h:%p jump"],
        ),
        ("-X -s -C", ["-X", "-s"]),
        ("-o", ["-o"]),
    ],
)
def test_compression_is_taken_out_and_nothing_else(given: str, kept: list[str]) -> None:
    assert _connection.without_compression(given) == kept


def test_sftp_and_scp_have_flags_of_their_own() -> None:
    assert _connection.without_compression("-C -X nrequests=9 -S /opt/ssh", "sftp") == [
        "-X",
        "nrequests=9",
        "-S",
        "/opt/ssh",
    ]
    assert _connection.without_compression("-pCr -l 100", "scp") == ["-pr", "-l", "100"]


def test_an_open_quote_is_named() -> None:
    with pytest.raises(InputError, match="cannot be read"):
        _connection.without_compression("-o 'User=x")


def test_the_default_arguments_give_an_uncompressed_master_of_its_own() -> None:
    options = {"ssh_args": "-C -o ControlMaster=auto -o ControlPersist=60s", "host": "h", "control_path": ""}
    plain = _connection.plain_ssh_options(options)
    assert shlex.split(plain["ssh_args"])[:2] == ["-o", "Compression=no"]
    assert "-C" not in shlex.split(plain["ssh_args"])
    assert "ControlPersist=60s" in plain["ssh_args"]
    assert plain["control_path"].startswith("%(directory)s/")
    other = _connection.plain_ssh_options({**options, "host": "other"})
    assert other["control_path"] != plain["control_path"]


def test_without_persistence_no_foreign_master_is_used() -> None:
    plain = _connection.plain_ssh_options({"ssh_args": "-v", "host": "h"})
    assert shlex.split(plain["ssh_args"]) == ["-o", "Compression=no", "-v", "-o", "ControlPath=none"]


def test_a_control_path_of_the_user_is_not_shared() -> None:
    plain = _connection.plain_ssh_options(
        {
            "ssh_args": "-o ControlPersist=5m",
            "ssh_extra_args": "-o ControlPath=~/.ssh/cm-%h -4C",
            "ssh_common_args": None,
            "sftp_extra_args": "-C",
        }
    )
    assert plain["ssh_extra_args"] == "-4"
    assert plain["sftp_extra_args"] == ""


@pytest.mark.parametrize(
    ("total", "estimated", "line"),
    [
        (None, False, "x: 50.0 MiB in 10.0 s, 5.0 MiB/s"),
        (104857600, False, "x: 50.0 MiB in 10.0 s, 5.0 MiB/s, 50 % of 100.0 MiB"),
        (104857600, True, "x: 50.0 MiB in 10.0 s, 5.0 MiB/s, about 50 % (last time: 100.0 MiB)"),
        (1048576, True, "x: 50.0 MiB in 10.0 s, 5.0 MiB/s, about 99 % (last time: 1.0 MiB)"),
    ],
)
def test_a_progress_line_says_how_far_it_is(total: int | None, estimated: bool, line: str) -> None:
    assert _progress.progress_line("x", 52428800, 10.0, total, estimated) == line


def test_progress_is_a_line_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(_progress.time, "monotonic", lambda: clock[0])
    lines: list[str] = []
    progress = _progress.Progress(lines.append, "sso")
    progress.begin("redis/dump.rdb", 1000, estimated=False)
    for _time in range(100):
        clock[0] += 0.25
        progress.add(10)
    assert len(lines) == 5
    assert lines[0].startswith("authentik recovery: [sso] redis/dump.rdb:")
