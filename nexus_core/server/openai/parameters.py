"""Parameters of OpenAI's API: those that ask for nothing are left out, and those that are not served are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nexus_core.server.errors import Failure

IGNORED = (
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
    "prompt_cache_options", "parallel_tool_calls",
)  # fmt: skip
"""Parameters of each kind of request that many clients send, and that change nothing here."""
IGNORED_OF_CHATS = (*IGNORED, "reasoning_effort", "verbosity")
REFUSED_IN_CHATS: Mapping[str, Sequence[Any]] = {
    "functions": [[]], "function_call": ["none", "auto"],
    "logprobs": [False], "top_logprobs": [0], "logit_bias": [{}], "modalities": [["text"]], "audio": [],
    "prediction": [], "web_search_options": [], "moderation": [],
}  # fmt: skip
"""Parameters that would change the answer and are not served, with the values that ask for nothing."""
IGNORED_OF_RESPONSES = (
    *IGNORED, "reasoning", "truncation", "max_tool_calls",
)  # fmt: skip
REFUSED_IN_RESPONSES: Mapping[str, Sequence[Any]] = {
    "previous_response_id": [], "background": [False], "conversation": [], "prompt": [], "top_logprobs": [0],
    "include": [[], ["reasoning.encrypted_content"]], "moderation": [], "context_management": [[]],
    "background_options": [], "image": [], "access_programs": [],
}  # fmt: skip
_INSTEAD = {
    "functions": "send them as `tools`",
    "function_call": "send it as `tool_choice`",
    "logprobs": "the probabilities of tokens are not told: leave it out",
    "top_logprobs": "the probabilities of tokens are not told: leave it out",
    "web_search_options": "a pipeline searches its own sources: leave it out",
    "prompt": "prompts are not kept: send `instructions` and `input`",
    "previous_response_id": "answers are not kept: send the conversation so far as `input`",
    "conversation": "answers are not kept: send the conversation so far as `input`",
    "background": "a run ends with its request: use `stream`, so that the connection is not idle",
}
"""What to do in place of what is not served."""


def served_parameters(body: Mapping[str, Any], refused: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Return what a body says, without what asks for nothing; raises Failure for what is asked for and not served."""
    given = {name: value for name, value in body.items() if value is not None}
    for name, empty in refused.items():
        if name in given:
            value = given.pop(name)
            if not any(type(each) is type(value) and each == value for each in empty):
                instead = _INSTEAD.get(name, "leave it out")
                raise Failure(400, "unsupported_parameter", f"{name} is not served: {instead}", param=name)
    return given
