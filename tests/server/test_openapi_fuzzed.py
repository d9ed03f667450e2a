"""Requests made of the OpenAPI document by schemathesis: no 5xx, and no answer that the document does not tell.

Schemathesis brings twenty packages along, so it is no part of the development extra: `pip install schemathesis`.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nexus_core.server.identity import Identity

if TYPE_CHECKING:
    from tests.server.conftest import Start

ST = shutil.which("st", path=str(Path(sys.executable).parent))
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
    "response_headers_conformance", "negative_data_rejection", "unsupported_method",
)  # fmt: skip
NAMES = """[parameters]
"path.contextId" = "handbook"
"path.model" = "nexus/talk"
"path.itemId" = "trains"
"path.conversationId" = "monday"
"""
"""So that requests reach more than the error that there is no such thing."""


@pytest.mark.skipif(ST is None, reason="schemathesis is not installed")
async def test_requests_made_of_the_document_are_answered_as_it_says(
    start: Start, handbook: Path, tmp_path: Path
) -> None:
    """Right ones and wrong ones, some thousand (faults 105, 106 and 206)."""

    async def verify(key: str) -> Identity | None:
        return Identity(owner="ann", scopes=frozenset({"admin"})) if key == "right" else None

    shutil.copytree(handbook, tmp_path / "store")
    running = await start(verify=verify)
    config = tmp_path / "schemathesis.toml"
    config.write_text(NAMES)
    assert ST is not None
    process = await asyncio.create_subprocess_exec(
        ST, f"--config-file={config}", "run", f"{running.origin}/openapi.json", f"--checks={','.join(CHECKS)}",
        "--header=Authorization: Bearer right", "--max-examples=3", "--seed=1", "--no-color",
        "--phases=coverage,fuzzing",
        "--exclude-path-regex=^/(page/|$|docs)", "--exclude-operation-id=delete_api_contexts_by_contextId",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=tmp_path,
    )  # fmt: skip
    told = (await process.communicate())[0].decode()
    assert process.returncode == 0, told
    assert int(re.findall(r"(\d+) generated, \d+ passed", told)[0]) > 500
