# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The second half of a restore: exchange prepared databases for the live ones by rename, and take that back.

In place there is a step before the first half: what is live is dropped.

The names of the databases alone tell how far a restore came, so each step can be repeated after any interruption.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import RecoveryError, StateError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import _client
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._connection import (
    quote_ident,
    quote_literal,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._migration_lock import MigrationLock
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_admin import (
    Admin,
    Request,
    open_admin,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_names import (
    Names,
    find_copies,
    free_name,
    names_for,
    plan_undo,
)

if TYPE_CHECKING:
    from typing import Sequence

_SWAP_ATTEMPTS = 3
_TERMINATE_EVERY_SECONDS = 0.05
_OBJECT_IN_USE = "55006"


def plan_swap(request: Request, targets: Sequence[str]) -> list[tuple[str, str]]:
    """Return the renames that a swap would make; changes nothing.

    :raises StateError: when nothing was prepared under this id.
    """
    with open_admin(request.settings, request.admin, [request.app_role], request.bin_dir) as admin:
        return _swap_renames(_all_names(request, targets), admin.databases())


def swap(request: Request, targets: Sequence[str]) -> dict[str, Any]:
    """Exchange the live databases for the prepared copies, all of them or none.

    :returns: ``changed``, ``renamed`` (pairs from, to), ``cut_over_seconds``: how long the live name answered nobody,
        ``warnings``.
    :raises StateError: when nothing was prepared, connections cannot be ended, or authentik migrates the live database.
    """
    every = _all_names(request, targets)
    with open_admin(request.settings, request.admin, [request.app_role], request.bin_dir) as admin:
        admin.lock(targets)
        renames = _swap_renames(every, admin.databases())
        closed = [names.before for names in every if (names.live, names.before) in renames]
        then = ["ALTER DATABASE %s ALLOW_CONNECTIONS false" % quote_ident(name) for name in closed]
        done = _rename(request, admin, renames, then)
    return {"changed": bool(renames), "renamed": [list(pair) for pair in renames], **done}


def _swap_renames(every: Sequence[Names], databases: dict[str, Any]) -> list[tuple[str, str]]:
    renames: list[tuple[str, str]] = []
    for names in every:
        if names.new in databases:
            if names.before in databases:
                raise StateError(
                    "%s and %s both exist: this restore was swapped in before" % (names.new, names.before),
                    hint="run the step undo, or use a new restore_id",
                )
            renames += [(names.live, names.before)] if names.live in databases else []
            renames.append((names.new, names.live))
        elif names.before not in databases or names.live not in databases:
            raise StateError(
                "there is no database %s: nothing was prepared for this restore" % names.new,
                hint="run the step prepare with the same restore_id first",
            )
    return renames


def plan_clear(request: Request, targets: Sequence[str]) -> list[str]:
    """Return the databases that :func:`clear` would drop; changes nothing."""
    with open_admin(request.settings, request.admin, [request.app_role], request.bin_dir) as admin:
        databases = admin.databases()
    return [name for names in _all_names(request, targets) for name in (names.before, names.live) if name in databases]


def clear(request: Request, targets: Sequence[str]) -> dict[str, Any]:
    """Drop the live databases, for a restore in place.

    Each is first renamed to ``<db>_before_<id>``, as in a swap. Killed until the drop, all of it is still there, and
    an undo brings it back.

    :returns: ``changed``, ``dropped`` (live names), ``cut_over_seconds`` and ``warnings``.
    :raises StateError: as :func:`swap` does; nothing was dropped then.
    """
    every = _all_names(request, targets)
    with open_admin(request.settings, request.admin, [request.app_role], request.bin_dir) as admin:
        admin.lock(targets)
        databases = admin.databases()
        # What an earlier run of this step put aside.
        aside = [names for names in every if names.before in databases]
        for names in aside:
            admin.drop(names.before)
        there = [names for names in every if names.live in databases]
        renames = [(names.live, names.before) for names in there]
        closed = ["ALTER DATABASE %s ALLOW_CONNECTIONS false" % quote_ident(names.before) for names in there]
        done = _rename(request, admin, renames, closed)
        for names in there:
            admin.drop(names.before)
    return {"changed": bool(aside or there), "dropped": [names.live for names in there or aside], **done}


def plan_of_undo(request: Request, targets: Sequence[str], keep_undone: bool) -> dict[str, Any]:
    """Return what undo would drop and rename; changes nothing."""
    with open_admin(request.settings, request.admin, [request.app_role], request.bin_dir) as admin:
        databases = admin.databases()
        drop, renames, _reopen = _undo_steps(request, targets, databases, keep_undone)
    return {
        "changed": bool(drop or renames),
        "dropped": drop,
        "renamed": [list(pair) for pair in renames],
        "left": _left(request, targets, databases),
        "kept": _kept(request, targets, databases, drop, renames),
    }


def undo(request: Request, targets: Sequence[str], keep_undone: bool) -> dict[str, Any]:
    """Go back to the state before the restore, from whichever step it reached; again and again does no harm.

    :param keep_undone: what was live after the swap stays as ``<db>_undone_<id>``, else it is dropped.
    :returns: ``changed``, ``dropped``, ``renamed``, ``left``, ``kept``, ``cut_over_seconds`` and ``warnings``.
    :raises StateError: as :func:`swap` does.
    """
    with open_admin(request.settings, request.admin, [request.app_role], request.bin_dir) as admin:
        admin.lock(targets)
        databases = admin.databases()
        drop, renames, reopen = _undo_steps(request, targets, databases, keep_undone)
        # First back in service, then tidy up.
        then = ["ALTER DATABASE %s ALLOW_CONNECTIONS true" % quote_ident(name) for name in reopen]
        done = _rename(request, admin, renames, then)
        for name in drop:
            admin.drop(name)
    return {
        "changed": bool(drop or renames),
        "dropped": drop,
        "renamed": [list(pair) for pair in renames],
        "left": _left(request, targets, databases),
        "kept": _kept(request, targets, databases, drop, renames),
        **done,
    }


def _left(request: Request, targets: Sequence[str], databases: dict[str, Any]) -> list[str]:
    """Return the live databases beside which nothing of this restore lies: they stay as they are, restored or not."""
    return [
        names.live
        for names in _all_names(request, targets)
        if names.live in databases and not databases.keys() & {names.load, names.new, names.before, names.undone}
    ]


def _kept(
    request: Request,
    targets: Sequence[str],
    databases: dict[str, Any],
    drop: Sequence[str],
    renames: Sequence[tuple[str, str]],
) -> list[str]:
    """Return what is there in the end of what this restore had brought; also what an undo that was killed put aside."""
    there = {*databases, *[new for _old, new in renames]} - set(drop)
    return sorted(
        name
        for target in targets
        for name, kind, restore_id in find_copies(target, there)
        if kind == "undone" and restore_id == request.restore_id
    )


def _undo_steps(
    request: Request, targets: Sequence[str], databases: dict[str, Any], keep_undone: bool
) -> tuple[list[str], list[tuple[str, str]], list[str]]:
    drop: list[str] = []
    renames: list[tuple[str, str]] = []
    reopen: list[str] = []
    for names in _all_names(request, targets):
        step = plan_undo(names, list(databases))
        drop += step.drop
        if step.aside:
            aside = free_name(names.undone, list(databases))
            renames.append((names.live, aside))
            drop += [] if keep_undone else [aside]
        if step.back:
            renames.append((names.before, names.live))
            reopen.append(names.live)
        if not keep_undone:
            drop += [name for name in (names.undone, names.undone + "_2") if name in databases]
    return drop, renames, reopen


def _rename(request: Request, admin: Admin, renames: Sequence[tuple[str, str]], then: Sequence[str]) -> dict[str, Any]:
    """Rename databases in one transaction; return ``cut_over_seconds`` that it took, and ``warnings``.

    A RENAME first takes the lock that keeps new connections out, then waits some seconds for the old ones to end. A
    second session ends them just then, so clients that connect again and again cannot get in between. That goes for
    the session that keeps authentik's migrations out as well, and it is the last one to go. Killed at any point, the
    server rolls all of it back.
    """
    if not renames:
        return {"cut_over_seconds": 0.0, "warnings": []}
    names = sorted({old for old, _new in renames})
    statements = ["ALTER DATABASE %s RENAME TO %s" % (quote_ident(old), quote_ident(new)) for old, new in renames]
    problem = ""
    for _attempt in range(_SWAP_ATTEMPTS):
        with contextlib.ExitStack() as stack:
            lock = None
            # Other databases than its own are none of authentik's.
            if request.settings.name in names:
                lock = stack.enter_context(MigrationLock(admin, request, request.settings.name))
            stack.enter_context(_Terminator(admin, names, lock))
            started = time.monotonic()
            problem = _transaction(admin, [*statements, *then], lock)
            if not problem:
                seconds = round(time.monotonic() - started, 3)
                return {"cut_over_seconds": seconds, "warnings": lock.warnings if lock else []}
    raise StateError(
        "connections to %s could not be ended: %s" % (", ".join(names), problem),
        hint="nothing was exchanged; end them, or use a superuser as admin_user",
        command="SELECT pid, usename, application_name, client_addr, state FROM pg_stat_activity "
        "WHERE datname = %s" % quote_literal(names[0]),
    )


def _transaction(admin: Admin, statements: Sequence[str], lock: MigrationLock | None) -> str:
    """Run statements in one transaction; return why it was rolled back and may be tried again, "" when it was not."""
    admin.session.execute("BEGIN")
    try:
        for statement in statements:
            admin.session.execute(statement)
        if lock is None or lock.handed_over:
            admin.session.execute("COMMIT")
            return ""
        problem = "the one that keeps authentik's migrations out was ended by somebody else"
    except _client.QueryError as exc:
        if exc.sqlstate != _OBJECT_IN_USE:
            admin.session.execute("ROLLBACK")
            raise
        problem = exc.cause
    admin.session.execute("ROLLBACK")
    return problem


class _Terminator:
    """Ends all connections to some databases, again and again, while the context lasts.

    :param lock: its session is left alone until it has handed the lock over.
    """

    def __init__(self, admin: Admin, names: Sequence[str], lock: MigrationLock | None) -> None:
        self._admin = admin
        self._names = names
        self._lock = lock
        self._session = admin.open()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if self._lock is not None:
                    self._lock.hand_over(self._session)
                spare = self._lock.pid if self._lock is not None else 0
                self._admin.terminate(self._names, self._session, spare)
            except RecoveryError:
                return  # the RENAME then waits in vain and says what is left
            self._stop.wait(_TERMINATE_EVERY_SECONDS)

    def __enter__(self) -> _Terminator:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()
        self._session.close()


def _all_names(request: Request, targets: Sequence[str]) -> list[Names]:
    return [names_for(target, request.restore_id) for target in targets]
