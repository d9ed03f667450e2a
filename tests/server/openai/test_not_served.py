"""What is not served says what to call instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import openai
import pytest

from nexus_core.server.openai.not_served import instead_of

if TYPE_CHECKING:
    from tests.server.conftest import Running

ADDRESSES = {
    "/v1/completions": "POST /v1/chat/completions",
    "/v1/assistants/asst_1": "POST /v1/responses",
    "/v1/threads/t/runs": "POST /ask/queries",
    "/v1/audio/transcriptions": "/v1/chat/completions",
    "/v1/images/generations": "/v1/chat/completions",
    "/v1/files": "POST /ask/contexts/CONTEXT/documents",
    "/v1/fine_tuning/jobs": "/ask/contexts",
    "/v1/batches": "nexus batch",
    "/v1/moderations": "content_filter",
    "/v1/responses/resp_1/cancel": "POST /v1/responses",
    "/chat/completions": "ends with /v1",
    "/v1/v1/models": "ends with /v1",
}


@pytest.mark.parametrize(("path", "words"), ADDRESSES.items(), ids=ADDRESSES)
def test_address_that_is_not_served_names_another_one(path: str, words: str) -> None:
    """With the prefix of the query API."""
    assert words in (instead_of(path, "/ask") or "")


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/completion", "/v2/chat/completions", "/api/files", ""])
def test_other_addresses_are_told_of_no_other(path: str) -> None:
    """Nobody who asks for them is a client of OpenAI."""
    assert instead_of(path, "/api") is None


@pytest.mark.slow
async def test_client_reads_what_to_call_instead(client: openai.AsyncOpenAI, running: Running) -> None:
    """As 404 in OpenAI's shape, whatever the method; other addresses say what lists them."""
    with pytest.raises(openai.NotFoundError, match="POST /v1/chat/completions, with the prompt") as caught:
        await client.completions.create(model="nexus/talk", prompt="Hello")
    assert caught.value.type == "not_found_error"
    with pytest.raises(openai.NotFoundError, match="nexus batch"):
        await client.batches.list()
    for path, shape in (("/chat/completions", dict), ("/nothing", str)):
        status, told = await running.call("POST", path, json={})
        assert (status, type(told["error"])) == (404, shape)
