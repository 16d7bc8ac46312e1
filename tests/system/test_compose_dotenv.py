# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A ``.env`` whose variables were changed, read by Docker Compose itself."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _dotenv
from tests.support import compose_plugin

pytestmark = pytest.mark.system

# What could be taken for a quote, an escape, a variable or a comment.
ODD = [
    "",
    " ",
    "#",
    "a #b",
    "$$",
    "$HOME",
    "${PATH}",
    "\\",
    "a\\",
    "\\\\",
    "'",
    '"',
    "'\"",
    "p@ss w\"ord'\\ Ünï $X %20",
    "\\n",
    "'\\$",
    "\\'",
    "a\r\nb",
    "'a\\nb",
    " lead",
    "trail ",
    "\t",
    "'\\0134",
    "'$${A}",
    "'\\\\n",
    '{"a": "b"}',
]


def test_compose_reads_what_was_written(tmp_path: Path) -> None:
    plugin = str(compose_plugin.compose_plugin())
    chance = random.Random(5)
    alphabet = "ab1 '\"\\$#{}`!n\n\t=é😀%:;,\r"
    words = ODD + ["".join(chance.choices(alphabet, k=chance.randint(0, 9))) for _number in range(400)]
    values = {"V%d" % number: word for number, word in enumerate(words)}
    before = "# first\n" + "".join("V%d=old # why\n" % number for number in range(0, len(words), 3))
    before += "".join("export V%d='o\\'ld\n x'\n" % number for number in range(1, len(words), 3))
    text, found = _dotenv.set_variables(before, values)
    text = _dotenv.add_variables(text, {name: word for name, word in values.items() if name not in found})
    (tmp_path / ".env").write_text(text, newline="")
    services = {"a": {"image": "x", "env_file": [".env"], "environment": {"TOLD": "${V13}"}}}
    (tmp_path / "compose.yml").write_text(json.dumps({"services": services}))
    done = subprocess.run(
        [plugin, "config", "--format", "json"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    # A dollar is printed twice.
    read = json.loads(done.stdout)["services"]["a"]["environment"]
    read = {name: value.replace("$$", "\0").replace("\0", "$") for name, value in read.items()}
    assert {name: read[name] for name in values} == values
    assert read["TOLD"] == ODD[13]
