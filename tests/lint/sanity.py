# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``ansible-test sanity`` of one release of ansible-core, every test of it, on every Python it knows that is here.

The release lives in an environment of its own in the cache folder. So do the environments that ansible-test makes for
its tests, because it is given a home folder there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.lint.checks import call

# Hosts from 3.8, controllers to 3.13: what ansible-core 2.18 and 2.19 support.
PYTHONS = ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13"]

# The longest tests, which say the same in both releases: these run the same versions of Python and of pylint.
_ONCE = ["compile", "import", "pylint"]

# ansible-test gets pip by downloading a script. Python brings pip along, so the network is needed for packages only.
GET_PIP = """\
import subprocess
import sys

subprocess.check_call([sys.executable, "-m", "ensurepip"], stdout=subprocess.DEVNULL)
wanted = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", "--quiet", *wanted]))
"""


def run(copy: Path, release: str) -> bool:
    """Run the sanity tests on the collection in ``copy`` with ansible-core ``release`` (such as ``"2.19"``)."""
    base = _cache() / ("sanity-%s-py%d.%d" % (release, *sys.version_info[:2]))
    program = _install(base, release)
    home = base / "home"
    _offer_pip(base, home)
    _pip_settings(home)
    with tempfile.TemporaryDirectory(prefix="recovery-pythons-") as folder:
        for version, path in pythons().items():
            os.symlink(path, os.path.join(folder, "python%s" % version))
        env = {"HOME": str(home), "PATH": "%s:/usr/local/bin:/usr/bin:/bin" % folder}
        skipped = [word for name in _ONCE for word in ("--skip-test", name)] if release == "2.18" else []
        return call([str(program), "sanity", "--color", "no", *skipped], copy, env)


def left_out() -> list[str]:
    """Versions of Python that are not on this machine: the compile and import tests cannot try them."""
    missing = [version for version in PYTHONS if version not in pythons()]
    if not missing:
        return []
    return ["ansible-test's compile and import tests on Python %s: not installed" % ", ".join(missing)]


def pythons() -> dict[str, str]:
    """Version -> a working interpreter, from PATH and from pyenv."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep) + ["/usr/bin", "/usr/local/bin"]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    folders += [str(path) for path in sorted(pyenv.glob("versions/*/bin"))]
    found = {}
    for version in PYTHONS:
        for folder in folders:
            path = os.path.join(folder, "python%s" % version)
            if os.access(path, os.X_OK) and _works(path):
                found[version] = path
                break
    return found


def _works(path: str) -> bool:
    # pyenv's shims exist for versions that are not selected; Debian splits ensurepip off.
    argv = [path, "-c", "import ensurepip, venv"]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "authentik_ops.recovery"


def _install(base: Path, release: str) -> Path:
    venv = base / "venv"
    stamp = venv / ".complete"
    if not stamp.exists():
        shutil.rmtree(venv, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        pip = [str(venv / "bin" / "python"), "-m", "pip", "--quiet", "--quiet", "install"]
        subprocess.run([*pip, "--upgrade", "pip"], check=True)
        subprocess.run([*pip, "ansible-core~=%s.0" % release], check=True)
        stamp.touch()
    return venv / "bin" / "ansible-test"


def _offer_pip(base: Path, home: Path) -> None:
    internals = list(base.glob("venv/lib/python*/site-packages/ansible_test/_internal/python_requirements.py"))
    version = re.search(r"pip='([0-9.]+)'", internals[0].read_text()) if internals else None
    if version is None:
        raise SystemExit("%s: this ansible-test does not say which pip it wants." % base)
    script = home / ".ansible" / "test" / "cache" / ("get_pip_%s.py" % version.group(1).replace(".", "_"))
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(GET_PIP)


def _pip_settings(home: Path) -> None:
    """Hand this user's pip settings on: ansible-test drops the environment variables that hold them."""
    argv = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout
    settings = {"quiet": "2"}
    for line in listed.splitlines():
        where, value = line.split("=", 1)
        section, key = where.rsplit(".", 1)
        if section in ("global", ":env:"):
            settings[key] = value.strip().strip("'\"").replace("\\n", "\n    ")
    target = home / ".config" / "pip" / "pip.conf"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("[global]\n" + "".join("%s = %s\n" % item for item in settings.items()))
