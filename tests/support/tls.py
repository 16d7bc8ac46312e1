# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Throwaway certificates made with ``openssl``, and a TLS front for a server that was built without TLS."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from pathlib import Path


def make_certificates(folder: Path, name: str = "localhost") -> dict[str, str]:
    """Make a CA and a server certificate for *name* in *folder*; return the paths ``ca``, ``cert`` and ``key``."""
    ca, key, cert, request = (folder / part for part in ("ca.pem", "key.pem", "cert.pem", "request.pem"))
    ca_key, extension = folder / "ca-key.pem", folder / "extension"
    extension.write_text("subjectAltName=DNS:%s\n" % name)
    new = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    sign = ["openssl", "x509", "-req", "-days", "2", "-CAcreateserial", "-extfile", str(extension)]
    for argv in (
        [*new, "-x509", "-days", "2", "-subj", "/CN=test CA", "-keyout", str(ca_key), "-out", str(ca)],
        [*new, "-subj", "/CN=%s" % name, "-keyout", str(key), "-out", str(request)],
        [*sign, "-in", str(request), "-CA", str(ca), "-CAkey", str(ca_key), "-out", str(cert)],
    ):
        subprocess.run(argv, check=True, capture_output=True)
    return {"ca": str(ca), "cert": str(cert), "key": str(key)}


class TlsFront:
    """Ends TLS on a free port of 127.0.0.1 and passes the bytes on to *target*, a port there. A context manager."""

    def __init__(self, target: int, certificates: dict[str, str]) -> None:
        self._target = target
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificates["cert"], certificates["key"])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> TlsFront:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                plain, _peer = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            outside = self._context.wrap_socket(plain, server_side=True)
        except OSError:
            return
        inside = socket.create_connection(("127.0.0.1", self._target))
        outside.settimeout(0.02)
        try:
            with outside, inside:
                self._pump(outside, inside)
        except OSError:
            return

    @staticmethod
    def _pump(outside: ssl.SSLSocket, inside: socket.socket) -> None:
        # One thread for both ways: an SSL object must not be read and written by two at once.
        inside.settimeout(0.02)
        while True:
            for source, sink in ((outside, inside), (inside, outside)):
                try:
                    data = source.recv(65536)
                except TimeoutError:
                    continue
                if not data:
                    return
                sink.settimeout(10)
                sink.sendall(data)
                sink.settimeout(0.02)
