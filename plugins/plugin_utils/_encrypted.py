# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to the collection: names and behaviour may change in any release.

"""Artifacts on their way into the store and out of it, encrypted there where the set has recipients."""

from __future__ import annotations

import contextlib
import hashlib
import typing as t

from ansible_collections.authentik_ops.recovery.plugins.module_utils import _manifest
from ansible_collections.authentik_ops.recovery.plugins.module_utils._files import (
    ArtifactReader,
    Artifacts,
    naming,
)
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._age import Writer, decrypting, encrypting
from ansible_collections.authentik_ops.recovery.plugins.plugin_utils._folder import Sink, Source, StoredFile


class StoredArtifact:
    """An artifact that is being stored: C(size) and C(sha256) describe the plain bytes that were written.

    :param path: as the host calls it.
    :param file: what lies in the store.
    """

    def __init__(self, path: str, file: StoredFile, writer: Writer, recipients: list[str]) -> None:
        self.path = path
        self.size = 0
        self._file, self._writer, self._recipients = file, writer, recipients
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The hexadecimal SHA-256 of what was written so far."""
        return self._hash.hexdigest() if self._recipients else self._file.sha256

    def write(self, data: bytes) -> int:
        """Append the data whole and return its length in bytes."""
        self._writer.write(data)
        if self._recipients:
            self._hash.update(data)
        self.size += len(data)
        return len(data)

    def entry(self) -> dict[str, t.Any]:
        """Return what the manifest says of the file, once it is whole."""
        entry = {"path": self.path, "size": self._file.size, "sha256": self._file.sha256, "encryption": "none"}
        entry.update(plain_size=self.size, plain_sha256=self.sha256)
        if self._recipients:
            entry.update(path=self.path + _manifest.AGE_SUFFIX, encryption=_manifest.AGE, recipients=self._recipients)
        return entry


class StoreSink:
    """Writes the artifacts of an unfinished set, encrypted to its recipients where it has some.

    :param sink: what writes into its folder.
    :param recipients: public keys.
    """

    def __init__(self, sink: Sink, recipients: list[str]) -> None:
        self._sink = sink
        self._recipients = recipients

    @contextlib.contextmanager
    def artifact(self, path: str) -> t.Iterator[StoredArtifact]:
        """Yield a writer; left normally, the artifact is durable under its name, else nothing of it is there.

        :param path: relative and without the ending of encryption, as in C(postgresql/authentik.dump).
        """
        with contextlib.ExitStack() as stack:
            if self._recipients:
                file = stack.enter_context(self._sink.artifact(path + _manifest.AGE_SUFFIX))
                yield StoredArtifact(
                    path, file, stack.enter_context(encrypting(file, self._recipients)), self._recipients
                )
            else:
                file = stack.enter_context(self._sink.artifact(path))
                yield StoredArtifact(path, file, file, [])


class DecryptingSource(Artifacts):
    """Reads and compares the artifacts of an encrypted set, under the names and with the content they had on the host.

    :param stored: the artifacts as they lie in the store.
    :param manifest: the set's.
    :param identities: of the recipients, one or more.
    """

    def __init__(self, stored: Source, manifest: dict[str, t.Any], identities: t.Sequence[t.Any]) -> None:
        super().__init__(_manifest.plain_view(manifest)["artifacts"])
        self._stored = stored
        self._identities = identities

    def drain(self) -> None:
        """Read and compare all of them.

        :raises IntegrityError: when one differs.
        """
        for path in self._records:
            with self.artifact(path) as reader:
                reader.drain()

    @contextlib.contextmanager
    def artifact(self, path: str) -> t.Iterator[ArtifactReader]:
        """Yield a reader; at its end, or when it is left normally, all of the artifact has been compared.

        :raises IntegrityError: naming the path, what was expected and what was found.
        """
        expected = self.expected(path, plain=True)
        with self._stored.artifact(path + _manifest.AGE_SUFFIX) as stored:
            label = stored.label
            with decrypting(stored, self._identities, label) as plain:
                reader = ArtifactReader(plain, "The content of %s" % label, expected)
                with naming(path):
                    yield reader
                    reader.drain()
