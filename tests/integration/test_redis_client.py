# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Redis client against real servers: every way in, and what an operator is told when there is none."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.authentik_ops.recovery.plugins.module_utils._deployment._instance import RedisSettings
from ansible_collections.authentik_ops.recovery.plugins.module_utils._errors import ConnectError, InputError
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis import _client
from ansible_collections.authentik_ops.recovery.plugins.module_utils._redis._client import (
    Client,
    CommandError,
    ErrorReply,
)
from tests.support.redis import RedisServer, TlsFront, make_certificates

MakeRedis = Callable[..., RedisServer]
AWKWARD = "".join(map(chr, range(33, 127))) + " äß€😀"


def tcp(server: RedisServer, **more: object) -> RedisSettings:
    return RedisSettings(host="127.0.0.1", port=server.port, **more)  # type: ignore[arg-type]


def test_password_with_every_printable_character(make_redis: MakeRedis) -> None:
    server = make_redis(password=AWKWARD)
    with Client(tcp(server, password=AWKWARD)) as client:
        assert client.command("PING") == "PONG"


def test_socket_and_database_are_used(make_redis: MakeRedis) -> None:
    server = make_redis(password="secret")
    server.send("SET", "where", "in 5", db=5)
    settings = RedisSettings(host="host.invalid", port=1, socket=server.socket, password="secret", db=5)
    with Client(settings) as client:
        assert client.command("GET", "where") == b"in 5"


def test_acl_user(make_redis: MakeRedis) -> None:
    server = make_redis(users=["backup on >word ~* +ping"])
    with Client(tcp(server, username="backup", password="word")) as client:
        assert client.command("PING") == "PONG"
        with pytest.raises(CommandError, match=r"refused GET: NOPERM.*Grant|grant") as caught:
            client.command("GET", "secret-key-name")
    assert "secret-key-name" not in str(caught.value)


@pytest.mark.parametrize(
    ("server_password", "settings", "words"),
    [
        ("right", {"password": "wrong-one"}, "WRONGPASS.*redis_password"),
        ("right", {}, "NOAUTH.*redis_password"),
        ("", {"username": "nobody", "password": "wrong-one"}, "WRONGPASS.*redis_username"),
    ],
)
def test_login_refused(make_redis: MakeRedis, server_password: str, settings: dict[str, str], words: str) -> None:
    server = make_redis(password=server_password)
    with pytest.raises(ConnectError, match=words) as caught, Client(tcp(server, **settings)) as client:
        client.command("PING")
    assert "wrong-one" not in str(caught.value)


def test_a_password_that_the_server_does_not_want_does_no_harm(make_redis: MakeRedis) -> None:
    with Client(tcp(make_redis(), password="unused")) as client:
        assert client.command("PING") == "PONG"


def test_nobody_there(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectError, match=r"cannot be reached.*refused.*redis_port"):
            Client(RedisSettings(host="127.0.0.1", port=free.getsockname()[1]))
    with pytest.raises(ConnectError, match=r"cannot be reached.*redis_socket"):
        Client(RedisSettings(socket=str(tmp_path / "none.sock")))


def test_a_server_that_is_not_redis() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        link, _peer = listener.accept()
        link.recv(100)
        link.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        link.close()

    threading.Thread(target=answer, daemon=True).start()
    with (
        pytest.raises(ConnectError, match=r"does not speak the Redis protocol.*redis_port"),
        Client(RedisSettings(host="127.0.0.1", port=listener.getsockname()[1])) as client,
    ):
        client.command("PING")
    listener.close()


def test_a_silent_server_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = RedisSettings(host="127.0.0.1", port=listener.getsockname()[1])
        with (
            pytest.raises(ConnectError, match=r"did not answer within 0\.2 seconds"),
            Client(settings, reply_seconds=0.2) as client,
        ):
            client.command("PING")


def test_tls(make_redis: MakeRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = make_redis(password="secret")
    certificates = make_certificates(tmp_path, "localhost")
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    other_ca = make_certificates(stranger)["ca"]
    with TlsFront(server.port, certificates) as front:

        def ping(host: str, reqs: str, ca: str | None) -> object:
            settings = RedisSettings(
                host=host, port=front.port, password="secret", tls=True, tls_reqs=reqs, tls_ca_cert=ca
            )
            with Client(settings) as client:
                return client.command("PING")

        assert ping("localhost", "required", certificates["ca"]) == "PONG"
        assert ping("127.0.0.1", "optional", certificates["ca"]) == "PONG"
        assert ping("127.0.0.1", "none", None) == "PONG"
        for host, reqs, ca in (
            ("127.0.0.1", "required", certificates["ca"]),
            ("localhost", "optional", other_ca),
            ("localhost", "required", None),
        ):
            with pytest.raises(ConnectError, match=r"certificate.*not accepted.*redis_tls_ca_cert"):
                ping(host, reqs, ca)
        with pytest.raises(InputError, match="redis_tls_ca_cert"):
            ping("localhost", "required", str(tmp_path / "none.pem"))
    # A server without TLS waits for the end of what it takes for a command.
    monkeypatch.setattr(_client, "CONNECT_SECONDS", 0.5)
    with pytest.raises(ConnectError, match=r"TLS with Redis.*redis_tls"):
        Client(tcp(server, tls=True, password="secret"))


def test_pipeline_keeps_order_and_errors_apart(make_redis: MakeRedis) -> None:
    server = make_redis()
    big = b"\r\n\x00" * 1000000
    with Client(tcp(server)) as client:
        commands: list[tuple[str | bytes | int, ...]] = [("SET", "key %d" % n, n) for n in range(2500)]
        replies = client.pipeline([*commands, ("INCR", "key 7"), ("LPUSH", "key 8", "x"), ("SET", "big", big)])
        assert replies[:2500] == ["OK"] * 2500
        assert replies[2500] == 8
        assert isinstance(replies[2501], ErrorReply)
        assert replies[2501].code == "WRONGTYPE"
        assert client.command("GET", "big") == big
        assert client.command("GET", "nothing") is None
        assert client.command("EVAL", "return {1, {'a'}, false}", 0) == [1, [b"a"], None]


def test_server_that_dies_is_named(make_redis: MakeRedis) -> None:
    server = make_redis()
    with Client(tcp(server)) as client:
        server.stop(hard=True)
        with pytest.raises(ConnectError, match="127.0.0.1:%d closed the connection" % server.port):
            client.command("PING")
