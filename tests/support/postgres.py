# Copyright (c) 2026 the authentik_ops.recovery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real throwaway PostgreSQL servers: the fixtures, and the names tests and the demo import.

``Server`` and ``Database`` need no pytest; the fixtures exist where pytest is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.support.postgres_install import ServerError, bin_directory, free_port, identifier, literal, wheel_directory
from tests.support.postgres_server import SUPERUSER, Database, Server

__all__ = [
    "SUPERUSER",
    "Database",
    "Server",
    "ServerError",
    "bin_directory",
    "free_port",
    "identifier",
    "literal",
    "wheel_directory",
]

try:
    import pytest
except ImportError:  # the demo uses the class alone
    pass
else:

    @pytest.fixture(scope="session")
    def postgres18() -> Iterator[Server]:
        """A PostgreSQL 18 server shared by the whole test session."""
        with Server(18) as server:
            yield server

    @pytest.fixture(scope="session")
    def postgres16() -> Iterator[Server]:
        """A PostgreSQL 16 server shared by the whole test session."""
        with Server(16) as server:
            yield server

    @pytest.fixture
    def fresh18(postgres18: Server) -> Iterator[Server]:
        """The shared server 18 without any database or role of an earlier test; emptied again afterwards."""
        postgres18.reset()
        yield postgres18
        postgres18.reset()

    @pytest.fixture
    def fresh16(postgres16: Server) -> Iterator[Server]:
        """The shared server 16 without any database or role of an earlier test; emptied again afterwards."""
        postgres16.reset()
        yield postgres16
        postgres16.reset()

    @pytest.fixture
    def database18(fresh18: Server) -> Database:
        """An empty database ``authentik`` on 18, owned by the plain role ``authentik``."""
        return fresh18.create_database()

    @pytest.fixture
    def database16(fresh16: Server) -> Database:
        """An empty database ``authentik`` on 16, owned by the plain role ``authentik``."""
        return fresh16.create_database()

    @pytest.fixture
    def superuser_database18(fresh18: Server) -> Database:
        """An empty database ``authentik`` on 18 whose owner ``authentik`` is a superuser (as with POSTGRES_USER)."""
        return fresh18.create_database(superuser=True)

    @pytest.fixture
    def make_database(fresh18: Server) -> Callable[..., Database]:
        """A factory of databases on 18: the arguments of :meth:`Server.create_database`."""
        return fresh18.create_database
