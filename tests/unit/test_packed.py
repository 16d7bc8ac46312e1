# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tests keep packed must never be other modules than those of the collection that is run."""

from __future__ import annotations

from pathlib import Path

from tests.support.packed import folder_for
from tests.support.playbook import ROOT


def test_another_state_of_the_plugins_is_packed_anew(tmp_path: Path) -> None:
    plugins = tmp_path / "ansible_collections/authentik_ops/recovery/plugins"
    (plugins / "module_utils/_deployment").mkdir(parents=True)
    file = plugins / "module_utils/_deployment/_yaml.py"
    seen = set()
    for content in ("A = 1\n", "A = 2\n", "A = 2\nB = 1\n"):
        file.write_text(content)
        assert folder_for(str(tmp_path)) == folder_for(str(tmp_path))
        seen.add(folder_for(str(tmp_path)))
    file.rename(file.with_name("_yml.py"))
    seen.add(folder_for(str(tmp_path)))
    assert len(seen) == 4
    # The checkout is found through a link, and also where it is not the only place.
    own = str(ROOT / ".collections")
    assert folder_for(own) not in {*seen, folder_for(str(tmp_path / "none"))}
    assert folder_for("%s:%s" % (own, tmp_path)) not in {*seen, folder_for(own)}
