# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""The proof that the databases of a set restore: each is restored under a name of its own, compared, and dropped."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import RecoveryError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres import _restore
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_admin import open_admin
from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_names import (
    left_proofs,
    proof_name,
)

if TYPE_CHECKING:
    from typing import Sequence

    from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_admin import Request
    from ansible_collections.authentik_ops.recovery.plugins.module_utils._postgres._restore_set import SetDatabase


def prove(request: Request, databases: Sequence[SetDatabase], source: Any) -> dict[str, Any]:
    """Restore the databases of a set one after the other; no other database of the server is touched.

    :param request: where to; its C(restore_id) is the set's id.
    :param source: ``source.artifact(path)`` is a context manager that gives a reader.
    :returns: ``databases`` and ``warnings``, as in :func:`_restore.prepare`.
    :raises RecoveryError: when one does not become what was recorded, or cannot be restored here.
    """
    done: dict[str, Any] = {"databases": [], "warnings": []}
    for database in databases:
        name = proof_name(database.target, request.restore_id)
        _drop(request, database)
        try:
            made = _restore.prepare(request._replace(restore_as=name), [database], source)
        except BaseException:
            # What failed is the news; what may be left is dropped by the next proof, too.
            with contextlib.suppress(RecoveryError):
                _drop(request, database)
            raise
        _drop(request, database)
        for key, found in done.items():
            found += made[key]
    return done


def _drop(request: Request, database: SetDatabase) -> None:
    """Drop what proofs of a database left, killed ones too. While one is being made, another does not come so far."""
    with open_admin(request.settings, request.admin, [database.owner], request.bin_dir) as admin:
        admin.lock([database.target])
        for name in left_proofs(database.target, admin.databases()):
            admin.drop(name)
