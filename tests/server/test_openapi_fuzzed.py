"""Requests made of the OpenAPI document by schemathesis, right ones and wrong ones, with every key there may be.

A longer run is the same by hand: `st run http://127.0.0.1:8000/openapi.json --max-examples=400`.
"""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from nexus_core.server.access import access
from nexus_core.server.access.identity import Identity

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.server.conftest import Running, Start

SCHEMATHESIS = str(Path(sys.executable).with_name("st"))
CONFIG = """[parameters]
"path.contextId" = "handbook"
"path.model" = "nexus/talk"
"path.itemId" = "trains"
"path.conversationId" = "monday"

[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 408, 409, 413, 415, 421, 422, 429]
"""
"""Names so that requests reach more than the error that there is no such thing; and what else is a refusal here."""
SCOPE = re.compile(r"scope `(\w+)`")


async def verify(key: str) -> Identity | None:
    """Know three keys, called after their one scope."""
    return Identity(owner="ann", scopes=frozenset({key})) if key in ("query", "read", "admin") else None


@pytest.fixture
async def served(
    start: Start, handbook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Running:
    """A server that asks for keys, and never says 429 to whoever shows many wrong ones."""
    monkeypatch.setattr(access, "WRONG_KEYS_PER_MINUTE", sys.maxsize)
    caplog.set_level(logging.INFO, "nexus_core.access")
    shutil.copytree(handbook, tmp_path / "store")
    return await start(verify=verify)


async def asked(served: Running, folder: Path, key: str, examples: int) -> None:
    """Ask all that the document tells with a key, and fail with what schemathesis has found."""
    config = folder / "schemathesis.toml"
    config.write_text(CONFIG)
    with_key = [f"--header=Authorization: Bearer {key}"] if key else []
    process = await asyncio.create_subprocess_exec(
        SCHEMATHESIS, f"--config-file={config}", "run", f"{served.origin}/openapi.json", *with_key,
        "--checks=all", "--exclude-checks=positive_data_acceptance",  # a name that is well written may be nobody's
        "--exclude-operation-id=deleteContext", "--phases=coverage,fuzzing",
        f"--max-examples={examples}", "--generation-deterministic", "--generation-with-security-parameters=false",
        "--no-color", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=folder,
    )  # fmt: skip
    told = (await process.communicate())[0].decode()
    assert process.returncode == 0, told
    assert int(re.findall(r"(\d+) generated, \d+ passed", told)[0]) > 500, told


async def scopes(served: Running) -> dict[tuple[str, str], str]:
    """Return the scope of each route that the document tells of, by method and path."""
    _, document = await served.call("GET", "/openapi.json")
    return {
        (method.upper(), path): found[1] if (found := SCOPE.search(operation.get("description", ""))) else "public"
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }


def successes(caplog: pytest.LogCaptureFixture, known: Mapping[tuple[str, str], str]) -> Counter[str]:
    """Return how often routes of each scope have been reached, by the server's own log of requests."""
    found: Counter[str] = Counter()
    for record in caplog.records:
        if record.name != "nexus_core.access":
            continue
        _, method, route, status, *_ = cast("tuple[Any, ...]", record.args)
        if status < 400:
            path = re.sub(r":[^{}]*}", "}", route)
            found[known.get((method, "/api" + path)) or known[method, path]] += 1
    return found


async def test_requests_with_every_right_are_answered_as_the_document_says(served: Running, tmp_path: Path) -> None:
    """No 5xx, and no answer that the document does not tell of (faults 105, 106 and 206)."""
    await asked(served, tmp_path, "admin", 3)


@pytest.mark.parametrize(
    ("key", "reached"),
    [("", {"public"}), ("query", {"public", "any", "query"}), ("read", {"public", "any", "read"})],
    ids=["none", "query", "read"],
)
async def test_a_key_reaches_the_routes_of_its_scope_alone(
    served: Running, tmp_path: Path, caplog: pytest.LogCaptureFixture, key: str, reached: set[str]
) -> None:
    """Whatever is asked, and however wrongly; without one that is what is open to whoever comes (fault 196)."""
    await asked(served, tmp_path, key, 1)
    assert set(successes(caplog, await scopes(served))) == reached
