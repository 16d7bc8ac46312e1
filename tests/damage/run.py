# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run: a set made by the playbook, damaged in every way that was drawn, and judged each time."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import RecoveryError
from tests.damage import playbook
from tests.damage.damages import Damage, done_to, draw
from tests.damage.instance import Watch, copy_set
from tests.damage.judge import Judge, complaint_about
from tests.damage.source import carries_nothing, written_with
from tests.support.site import Site, differences

#: Damaged when the checksum was taken, these would be another set: nothing in them could be contradicted.
_OF_THE_SET = ("manifest.json", "SHA256SUMS", "RESTORE.md")


@dataclass
class Outcome:
    """What became of the damages of one kind.

    :param tried: how many there were.
    :param caught: how many of them were refused.
    :param idle: how many changed nothing of what the artifact decodes to.
    :param problems: everything that should not have happened, as sentences.
    """

    tried: int = 0
    caught: int = 0
    idle: int = 0
    problems: list[str] = field(default_factory=list)
    files: Counter[str] = field(default_factory=Counter)


class Damages:
    """The damages to the set of a site.

    :param seed: of everything that is drawn.
    """

    def __init__(self, site: Site, seed: int) -> None:
        run = site.run("backup")
        if not run.ok:
            raise AssertionError(run.output)
        (self.made,) = site.sets()
        self._site = site
        self._random = Random(seed)
        self._before = site.instance.picture()
        self.folder = copy_set(self.made, site.root / "damaged")
        self._judge = Judge(site, self.folder)
        self._watch = Watch(site)
        self._sizes = {
            str(path.relative_to(self.folder)): path.stat().st_size
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }
        # All that is refused from here on is refused for its damage.
        for path in self._sizes:
            refusal = self._judge.refusal_at_rest(path)
            if refusal is not None:
                raise AssertionError("the whole set is refused: %s" % refusal)

    def close(self) -> None:
        """Let go of the servers."""
        self._watch.close()

    def refused_by_modules(self, path: str, folder: Path) -> RecoveryError | None:
        """Return why the check of a restore refuses the artifact at ``path`` of a set; None when it does not."""
        try:
            self._judge.step("check", path, folder)
        except RecoveryError as exc:
            return exc
        return None

    def changes(self) -> list[str]:
        """Return what of the live instance is no longer as it was, as far as that is told cheaply."""
        return self._watch.changes()

    def at_rest(self, flips: int, cuts: int) -> Outcome:
        """Damage files of the published set: the restore has to refuse it, and so has the list that verifies."""
        outcome = Outcome()
        for damage in draw(self._sizes, self._random, flips, cuts):
            with done_to(self.folder, damage):
                refusals = [
                    self._ask(lambda: self._judge.refusal_at_rest(damage.path), outcome, damage),  # noqa: B023
                    self._ask(self._judge.refusal_to_list, outcome, damage),
                ]
            self._count(outcome, damage, refusals)
        return outcome

    def at_the_source(self, flips: int, cuts: int) -> Outcome:
        """Damage artifacts before their checksums: what decoding and fingerprint do not find must carry nothing."""
        outcome = Outcome()
        sizes = {path: size for path, size in self._sizes.items() if path not in _OF_THE_SET}
        for damage in draw(sizes, self._random, flips, cuts):
            with written_with(self.folder, damage):
                refusal = self._ask(lambda: self._judge.refusal_at_rest(damage.path), outcome, damage)  # noqa: B023
            if refusal is None and carries_nothing(self.folder / damage.path, damage):
                outcome.tried += 1
                outcome.idle += 1
                outcome.problems += ["%s: changed live: %s" % (damage, change) for change in self._watch.changes()]
            else:
                self._count(outcome, damage, [refusal])
        return outcome

    def by_the_playbook(self, flips: int, cuts: int) -> Outcome:
        """A sample of what happens at rest, judged by ``restore.yml --check``."""
        outcome = Outcome()
        drawn: Sequence[Damage] = draw(self._sizes, self._random, flips, cuts)
        for damage, said in zip(drawn, playbook.refusals(self._site, self.made, drawn), strict=True):
            outcome.tried += 1
            outcome.files[damage.path] += 1
            outcome.caught += bool(said)
            if damage.path not in said or "nother" not in said:
                outcome.problems.append("%s: the playbook says %r" % (damage, said))
        outcome.problems += ["changed live: %s" % change for change in self._watch.changes()]
        shutil.rmtree(self._site.root / "cases")
        return outcome

    def live_differences(self) -> list[str]:
        """Compare the instance with what it was, by the oracle: every row, file and key."""
        return differences(self._before, self._site.instance.picture()) + self._site.leftovers()

    def _count(self, outcome: Outcome, damage: Damage, refusals: Sequence[RecoveryError | None]) -> None:
        outcome.tried += 1
        outcome.files[damage.path] += 1
        if all(refusals):
            outcome.caught += 1
        else:
            outcome.problems.append("%s: NOT CAUGHT" % damage)
        said = [complaint_about(refusal, damage.path) for refusal in refusals if refusal is not None]
        outcome.problems += ["%s: the refusal %s" % (damage, text) for text in said if text]
        outcome.problems += ["%s: changed live: %s" % (damage, change) for change in self._watch.changes()]

    def _ask(self, judge: Callable[[], RecoveryError | None], outcome: Outcome, damage: Damage) -> RecoveryError | None:
        try:
            return judge()
        except Exception as exc:  # noqa: BLE001  a module would end with a traceback: no refusal
            outcome.problems.append("%s: %s: %s" % (damage, type(exc).__name__, exc))
            return None
