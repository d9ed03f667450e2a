"""Schemas check what clients send, and say what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from nexus_core.server.api.keys import NEW_LIMITS
from nexus_core.server.errors import Failure
from nexus_core.server.http.json_schema import QUERY, checker
from nexus_core.server.openai.chat_schema import CHAT


def test_whole_numbers_are_whole_wherever_they_stand() -> None:
    """Also within objects within objects, and beside null; other numbers stay as they are."""
    limits = {"requestsPerMinute": 5.0, "tokensPerMinute": None, "concurrency": 3.0}
    assert repr(checker(NEW_LIMITS)(limits)) == "{'requestsPerMinute': 5, 'tokensPerMinute': None, 'concurrency': 3}"
    options = {"maxTokens": 5.0, "temperature": 1.0, "llmOptions": {"seed": 3.0}}
    found = checker(QUERY)({"query": "a", "contextId": "b", "options": options})["options"]
    assert repr(found) == "{'maxTokens': 5, 'temperature': 1.0, 'llmOptions': {'seed': 3}}"


@pytest.mark.parametrize("seed", [1e300, 2**63, 0.5, True, "1"])
def test_seed_is_a_whole_number_that_services_take(seed: Any) -> None:
    """Larger ones cannot be sent."""
    with pytest.raises(Failure, match="seed"):
        checker(CHAT)({"model": "a", "messages": [{"role": "user"}], "seed": seed})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"contextId": "c"}, "query is missing"),
        ({"query": "x", "contextId": "c", "stream": True}, "but within options .options.stream."),
        ({"query": "x", "contextId": "c", "options": {"modlId": "m"}}, "options.modlId is not known here, did you"),
        ([], "the body must be object"),
        ({"query": 5, "contextId": "c"}, "query must be string"),
        ({"query": "x", "contextId": "c", "attachments": [{"data": ""}]}, r"^attachments\[0\]\.data must be longer"),
    ],
    ids=["missing", "among the options", "unknown", "no object", "no text", "a name like ours"],
)
def test_what_is_wrong_with_a_body_is_said_in_words(body: object, said: str) -> None:
    """Which name it is, and what was meant."""
    with pytest.raises(Failure, match=said):
        checker(QUERY)(body)
