# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nothing is left out silently: every skipped test is listed in the last lines of the run.

With ``AUTHENTIK_RECOVERY_STRICT=1`` (CI) a skip of any kind is a failure.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

STRICT = "AUTHENTIK_RECOVERY_STRICT"

# What each folder needs, said when a run did not touch it.
SEPARATE_RUNS = {
    "tests/system": "real hosts with systemd and sshd; needs root and a container engine: make test-system"
}


def strict() -> bool:
    """Return whether a test that cannot run is a failure here."""
    return os.environ.get(STRICT, "") not in ("", "0")


def leave_out(reason: str) -> NoReturn:
    """Leave the calling test (or module, at its top level) out and say so at the end of the run.

    :param reason: what is missing and how to get it, e.g. ``"zstd is not installed (apt install zstd)"``.
    """
    if strict():
        pytest.fail("cannot be left out here: %s" % reason, pytrace=False)
    pytest.skip(reason, allow_module_level=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """In strict mode turn skips that did not come from :func:`leave_out` into failures too."""
    report = yield
    if strict() and report.skipped:
        report.longrepr = "cannot be left out here: %s" % _reason(report)
        report.outcome = "failed"
        if hasattr(report, "wasxfail"):
            del report.wasxfail
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    """The same for whole modules that leave themselves out."""
    report = yield
    if strict() and report.skipped:
        report.longrepr = "cannot be left out here: %s" % _reason(report)
        report.outcome = "failed"
    return report


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print what was left out, one line each, as the last section of the run."""
    skipped = terminalreporter.stats.get("skipped", []) + terminalreporter.stats.get("xfailed", [])
    lines = ["%s: %s" % (report.nodeid or "?", _reason(report)) for report in skipped]
    seen = {str(path) for path in getattr(config, "_recovery_folders", set())}
    lines += ["%s: %s" % (folder, need) for folder, need in sorted(SEPARATE_RUNS.items()) if folder not in seen]
    if lines:
        terminalreporter.section("left out of this run")
        for line in lines:
            terminalreporter.write_line(line)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Remember which folders took part, for the list at the end."""
    folders = {"/".join(item.nodeid.split("/")[:2]) for item in session.items}
    session.config._recovery_folders = folders  # type: ignore[attr-defined]


def _reason(report: Any) -> str:
    if getattr(report, "wasxfail", ""):
        return "expected to fail: %s" % report.wasxfail
    longrepr = report.longrepr
    text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return text.removeprefix("Skipped: ").strip()
