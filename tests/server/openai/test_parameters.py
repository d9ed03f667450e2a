"""Parameters: each that OpenAI's client knows is served, ignored or refused on purpose."""

from __future__ import annotations

from typing import Any

import pytest

from nexus_core.server.errors import Failure
from nexus_core.server.openai.chat_schema import CHAT_BODY
from nexus_core.server.openai.embeddings import REQUEST_BODY as EMBEDDINGS_BODY
from nexus_core.server.openai.parameters import REFUSED_IN_CHATS, REFUSED_IN_RESPONSES, served_parameters
from nexus_core.server.openai.response_schema import REQUEST_BODY as RESPONSES_BODY


@pytest.mark.parametrize(
    ("module", "name", "body"),
    [
        pytest.param("chat.completion_create_params", "CompletionCreateParamsBase", CHAT_BODY, id="chat"),
        pytest.param("responses.response_create_params", "ResponseCreateParamsBase", RESPONSES_BODY, id="responses"),
        pytest.param("embedding_create_params", "EmbeddingCreateParams", EMBEDDINGS_BODY, id="embeddings"),
    ],
)
def test_each_parameter_of_the_client_is_known(module: str, name: str, body: dict[str, Any]) -> None:
    """None that it may send is taken for a misspelt one."""
    from importlib import import_module

    params = getattr(import_module(f"openai.types.{module}"), name)
    assert set(params.__annotations__) - {"stream"} - set(body["properties"]) == set()


@pytest.mark.parametrize("refused", [REFUSED_IN_CHATS, REFUSED_IN_RESPONSES], ids=["chat", "responses"])
def test_refused_parameter_is_taken_where_it_asks_for_nothing(refused: dict[str, Any]) -> None:
    """And is left out then; else the error names it."""
    for name, empty in refused.items():
        assert all(
            served_parameters({name: value, "model": "m"}, refused) == {"model": "m"} for value in [*empty, None]
        )
        with pytest.raises(Failure, match=f"{name} is not served: ") as caught:
            served_parameters({name: ["something"]}, refused)
        assert (caught.value.status, caught.value.param) == (400, name)
