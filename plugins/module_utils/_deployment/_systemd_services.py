# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The services of an instance as systemd runs them."""

from __future__ import annotations

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _process
from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._stopped_note import StoppedNote
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import DiscoveryError, ToolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import Unit
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._system import System

_JOURNAL_LINES = 15
_UNMANAGED = "Where something else starts and stops authentik, do it there and set manage to false"


class SystemdServices:
    """A :class:`_services.ServiceManager`: services that systemd runs.

    :param health_url: the server's readiness URL.
    :param timeout: seconds that systemd may take to stop or start one service.
    """

    settle_seconds = 0.0

    def __init__(self, system: System, health_url: str, timeout: float) -> None:
        self._system = system
        self._health_url = health_url
        self._timeout = timeout
        self.note = StoppedNote(system, boot=(system.read("/proc/sys/kernel/random/boot_id") or "").strip())

    def require(self, state: str) -> None:
        """Raise DiscoveryError where no systemd runs."""
        if not self._system.runs_systemd:
            raise DiscoveryError("systemd does not run on this host, so no service can be %s" % state, _UNMANAGED)

    def states(self, units: list[Unit]) -> dict[str, str]:
        """Return systemd's ``ActiveState`` of each service; none where systemd does not run."""
        if not self._system.runs_systemd:
            return {}
        shown = self._system.show_units([unit.name for unit in units])
        return {unit.name: shown.get(unit.name, {}).get("ActiveState") or "unknown" for unit in units}

    def failed(self, units: list[Unit]) -> list[Unit]:
        """Return the services that failed."""
        states = self.states(units)
        return [unit for unit in units if states.get(unit.name) == "failed"]

    def stop(self, unit: Unit) -> None:
        """Stop a service."""
        self._systemctl("stop", unit)

    def start(self, unit: Unit, before: str) -> None:
        """Start a service that was in the state *before*."""
        if before == "failed":
            # systemd may refuse a service that failed too often while its database was away.
            self._systemctl("reset-failed", unit)
        self._systemctl("start", unit)

    def last_words(self, unit: Unit) -> str:
        """Return the last lines of a service's journal, as a sentence."""
        argv = ["journalctl", "--no-pager", "--output=cat", "--lines=%d" % _JOURNAL_LINES, "--unit=" + unit.name]
        try:
            done = _process.run(argv, timeout=30)
        except ToolError as exc:
            return "Its journal could not be read: %s" % exc.cause
        lines = _process.last_lines(done.stdout.decode("utf-8", "replace"), _JOURNAL_LINES)
        return "Its journal ends: %s" % lines if lines else "Its journal is empty"

    def status_command(self, unit: Unit) -> str:
        """Return the command that shows what a service does."""
        return "systemctl status %s" % unit.name

    def log_command(self, unit: Unit) -> str:
        """Return the command that shows what a service said."""
        return "journalctl -u %s -n 100" % unit.name

    def health_urls(self, servers: list[Unit]) -> list[str]:
        """Return the readiness URL."""
        return [self._health_url]

    def _systemctl(self, verb: str, unit: Unit) -> None:
        try:
            _process.run(["systemctl", verb, "--", unit.name], timeout=self._timeout)
        except ToolError as exc:
            raise ToolError(
                "%s. %s" % (exc.cause.rstrip("."), self.last_words(unit)),
                exc.hint or "It needs root (become), and a unit that systemd accepts",
                self.status_command(unit),
            ) from exc
