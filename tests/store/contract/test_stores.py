"""The suite of stores on both kinds that are shipped: a folder, and a database in a real Postgres."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from secrets import token_hex

import pytest

from nexus_core.testing import StoreContract
from tests.store.contract.test_postgres import end_connections

pytestmark = pytest.mark.slow


class TestFolder(StoreContract):
    """SQLite in a folder."""

    absent = {"loss": "a file has no connection that could be lost"}  # noqa: RUF012 - as authors write it

    @pytest.fixture(autouse=True)
    def _above(self, tmp_path: Path) -> None:
        self.above = tmp_path

    def url(self) -> str:
        return str(self.above / token_hex(4))


class TestPostgres(StoreContract):
    """Rows in Postgres."""

    @pytest.fixture(autouse=True)
    def _server(self, postgres_server: str, new_database: Callable[[], str]) -> None:
        self.server, self.new_database = postgres_server, new_database

    def url(self) -> str:
        return self.new_database()

    def lose(self, url: str) -> None:
        end_connections(self.server, url)
