# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a real container's file systems are taken for, by a controller that runs in it."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable

import pytest

from tests.support.hosts import Host
from tests.support.playbook import ROOT

NEEDED = ("module_utils", "plugin_utils/_ephemeral.py")
ASK = """\
import sys
sys.path.insert(0, "/opt")
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._ephemeral import check_lasting
try:
    check_lasting(sys.argv[1])
except Exception as exc:
    print(exc.cause)
"""


@pytest.fixture(scope="module")
def environment(start_host: Callable[[str], Host]) -> Host:
    """A container with the guard in it; ``/tmp`` is in memory, ``/etc/hosts`` mounted from outside."""
    host = start_host("bookworm")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in NEEDED:
            tar.add(ROOT / "plugins" / name, "ansible_collections/authentik_ops/recovery/plugins/" + name)
    host.sh("tar -x -C /opt", stdin=packed.getvalue())
    host.write("/opt/ask.py", ASK)
    return host


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/srv/authentik-backups", "the execution environment's own file system"),
        ("/tmp/authentik-backups", "in memory (tmpfs on /tmp)"),
        ("/etc/hosts", ""),
    ],
)
def test_a_store_in_a_container(environment: Host, path: str, says: str) -> None:
    said = environment.sh("python3 /opt/ask.py %s" % path)
    assert says in said
    assert bool(said) == bool(says)
