# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Deletes the backup sets of the store on the controller that a policy of retention does not keep."""

from __future__ import annotations

import contextlib
import datetime
import typing as t

from ansible.utils.display import Display

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import (
    InputError,
    StateError,
)
from ansible_collections.authentik_ops.recovery.plugins.module_utils._text import count, parse_duration
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils import _prune
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._backend import SetsLock
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._controller_action import ControllerAction
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._retention import Policy, check_policy
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._store import STORE_SPEC, Store, open_store

_RULES = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
_SPEC: dict[str, t.Any] = {
    **STORE_SPEC,
    **{"keep_" + rule: {"type": "int", "default": 0} for rule in _RULES},
    "keep_within": {"type": "str", "default": "0d"},
    "minimum_verified": {"type": "int", "default": 2},
    "may_keep_none": {"type": "bool", "default": False},
    "safety_days": {"type": "int", "default": 30},
    "shrink_limit": {"type": "float", "default": 0.5},
    "shrink_accepted": {"type": "str"},
    "only": {"type": "list", "elements": "str"},
}

display = Display()


class ActionModule(ControllerAction):
    """Works on the controller; the host is not contacted."""

    spec = _SPEC

    def work(self, options: dict[str, t.Any], result: dict[str, t.Any], task_vars: dict[str, t.Any]) -> None:
        """Delete what the policy does not keep."""
        try:
            self._prune(options, result)
        finally:
            result["changed"] = bool(result.get("finished") or result.get("deleted"))

    def _prune(self, options: dict[str, t.Any], result: dict[str, t.Any]) -> None:
        policy = policy_of(options)
        store = open_store(options["store"], options["instance"], options["s3"])
        now = datetime.datetime.now(datetime.UTC)
        before = store.accepted()
        accepted = max(before, options["shrink_accepted"] or "")
        if accepted != before:
            store.get(accepted, recheck=True)
        with self._lock(store) as lock:
            result["finished"] = self._finish(store, lock)
            plan = _prune.make_plan(store, policy, options["shrink_limit"], accepted, now)
            kept = [one.set_id for one in plan.verdicts if one.keeps]
            result.update(plan=plan.lines(), kept=kept, deleted=[], obstacles=plan.obstacles)
            if plan.obstacles:
                raise StateError(
                    "Nothing of %s is pruned: %s" % (store.instance, "; ".join(plan.obstacles)),
                    "What is there now stays until that is settled",
                )
            _prune.refuse_while_written(plan.problems)
            if lock and accepted != before:
                store.accept(accepted, now)
            going = [one for one in plan.going if options["only"] is None or one in options["only"]]
            self._delete(store, going, lock, result["deleted"])
        if self._task.diff:
            result["diff"] = difference(result)
        word = "would be deleted" if self._task.check_mode else "deleted"
        result["msg"] = "%s %s, %d kept" % (count(len(result["deleted"]), "set"), word, len(result["kept"]))

    @contextlib.contextmanager
    def _lock(self, store: Store) -> t.Iterator[SetsLock | None]:
        """Hold the lock where something may be changed; None where it may not, or there is nothing."""
        if self._task.check_mode or not store.exists():
            yield None
            return
        with store.removal().lock("a prune") as lock:
            if lock.taken_over:
                display.warning("The lock of a dead owner was taken over: %s" % lock.taken_over)
            yield lock

    def _finish(self, store: Store, lock: SetsLock | None) -> list[str]:
        """Remove what interrupted runs left, and return of which sets."""
        left = store.removal().left_over()
        for set_id in left if lock else []:
            store.removal().finish(set_id)
        return left

    def _delete(self, store: Store, going: list[str], lock: SetsLock | None, deleted: list[str]) -> None:
        """Delete the sets one by one, noting in C(deleted) which are gone; without a lock only note them."""
        for set_id in going:
            if lock:
                lock.beat()
                if store.get(set_id).pinned:
                    display.warning("%s was pinned meanwhile, and stays" % set_id)
                    continue
                store.removal().remove(set_id)
            deleted.append(set_id)


def policy_of(options: dict[str, t.Any]) -> Policy:
    """Return the policy that the options describe.

    :raises InputError: when it cannot be meant.
    """
    if not 0 <= options["shrink_limit"] <= 1:
        raise InputError(
            "shrink_limit is %s" % options["shrink_limit"], "Give the share that has to be left, from 0 to 1"
        )
    policy = Policy(
        within=datetime.timedelta(seconds=parse_duration(options["keep_within"])),
        minimum_verified=options["minimum_verified"],
        safety_days=options["safety_days"],
        **{rule: options["keep_" + rule] for rule in _RULES},
    )
    check_policy(policy, options["may_keep_none"])
    return policy


def difference(result: dict[str, t.Any]) -> dict[str, str]:
    """Return the ids before and after, as a diff shows them."""
    before = sorted([*result["kept"], *result["deleted"]])
    after = sorted(result["kept"])
    return {
        "before_header": "sets",
        "after_header": "sets",
        "before": "".join("%s\n" % one for one in before),
        "after": "".join("%s\n" % one for one in after),
    }
