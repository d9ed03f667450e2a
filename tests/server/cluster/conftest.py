"""Two servers of one store in a real Postgres, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nexus_core import Store
from tests.store.contract.conftest import database, new_database, own_server, postgres, postgres_server

__all__ = ["database", "new_database", "own_server", "postgres", "postgres_server"]


@pytest.fixture
async def two(start: Any, postgres: str) -> tuple[Any, Any]:
    """Start two servers of one store."""
    return await start(store=Store(postgres), name="one"), await start(store=Store(postgres), name="other")


@pytest.fixture
def own_url(own_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of a store in a server that the test may kill."""
    monkeypatch.setenv("NEXUS_STORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return str(own_server.get_uri())
