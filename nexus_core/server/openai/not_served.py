"""Addresses of OpenAI's API that are not served, each with what to call instead."""

from __future__ import annotations

from collections.abc import Mapping

_CHAT = "POST /v1/chat/completions"
_TRAINED = "models are not trained here: POST {prefix}/contexts/CONTEXT/documents adds what they are to know"
_NOT_SERVED: Mapping[str, str] = {
    "/v1/completions": f"{_CHAT}, with the prompt as the message of the user",
    "/v1/edits": f"{_CHAT}, with the text and what is to become of it as the message of the user",
    "/v1/engines": "GET /v1/models lists pipelines as models",
    "/v1/messages": f"{_CHAT} or POST /v1/responses: this is the API of OpenAI, not that of Anthropic",
    "/v1/assistants": "GET /v1/models lists pipelines, in place of assistants; ask one with POST /v1/responses",
    "/v1/threads": "POST /v1/responses with the conversation so far, or POST {prefix}/queries with `conversationId`",
    "/v1/conversations": "POST {prefix}/queries with `conversationId`; GET {prefix}/conversations lists yours",
    "/v1/responses": "POST /v1/responses; those with `background` are kept: GET, DELETE and /cancel take their ids",
    "/v1/chat": f"{_CHAT} alone: answers are not kept",
    "/v1/realtime": f"{_CHAT} with `stream`",
    "/v1/audio": f"text alone is taken: send what was said to {_CHAT}, and speak what it answers elsewhere",
    "/v1/images": f"text alone is answered: {_CHAT}",
    "/v1/videos": f"text alone is answered: {_CHAT}",
    "/v1/files": "POST {prefix}/contexts/CONTEXT/documents reads files into a context",
    "/v1/uploads": "POST {prefix}/contexts/CONTEXT/documents reads files into a context",
    "/v1/vector_stores": "POST {prefix}/contexts makes a context; POST {prefix}/contexts/CONTEXT/search searches it",
    "/v1/containers": "POST {prefix}/contexts makes a context; nothing is executed here",
    "/v1/fine_tuning": _TRAINED,
    "/v1/fine-tunes": _TRAINED,
    "/v1/batches": "`nexus batch` on the command line answers a file of questions",
    "/v1/evals": "`nexus eval` on the command line measures answers",
    "/v1/graders": "`nexus eval` on the command line measures answers",
    "/v1/moderations": "the service of a model refuses content by itself, which is told as `content_filter`",
    "/v1/rerank": "POST {prefix}/contexts/CONTEXT/search ranks the items of a context",
    "/v1/organization": "GET {prefix}/queries/usage tells the use of each model; `nexus keys` makes and lists keys",
    "/v1/v1": "the base URL of clients ends with /v1, once",
    "/chat/completions": "the base URL of clients ends with /v1, as in POST /v1/chat/completions",
    "/responses": "the base URL of clients ends with /v1, as in POST /v1/responses",
    "/embeddings": "the base URL of clients ends with /v1, as in POST /v1/embeddings",
    "/models": "the base URL of clients ends with /v1, as in GET /v1/models",
}  # fmt: skip
"""What to call instead, by the beginning of an address."""


def instead_of(path: str, prefix: str) -> str | None:
    """Return what to call in place of an address that is not served, `None` for one that nobody would ask for.

    `prefix` is that of the query API.
    """
    steps = path.rstrip("/").split("/")
    for count in (3, 2):  # the longer beginning is the more special one
        told = _NOT_SERVED.get("/".join(steps[:count]))
        if told is not None:
            return told.replace("{prefix}", prefix)
    return None
