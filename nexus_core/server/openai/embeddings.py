"""Embeddings of OpenAI's API, by the embedder of a pipeline: the one that its items are ranked with."""

from __future__ import annotations

from array import array as numbers
from base64 import b64encode
from collections.abc import Sequence
from sys import byteorder
from typing import Any

from aiohttp import web

from nexus_core.contract.values import Results
from nexus_core.server.access.access import AccessControl
from nexus_core.server.errors import Failure
from nexus_core.server.http.app import ADMITTED_REQUEST, identity
from nexus_core.server.http.bodies import json_answer, read_json
from nexus_core.server.http.json_schema import array, checker, closed, or_null, text
from nexus_core.server.openai.models import PipelineModels
from nexus_core.server.openai.parameters import sent_schema, served_parameters
from nexus_core.server.routes import Route
from nexus_core.server.settings import ServerSettings

MOST_TEXTS = 2_048
TEXT_CHARACTERS = 512 * 1024
_INTEGER = {"type": "integer"}
_INPUT = {"anyOf": [text(TEXT_CHARACTERS, minLength=1), array(text(TEXT_CHARACTERS), minItems=1, maxItems=MOST_TEXTS)]}
_PARAMETERS = {
    "model": text(1200, minLength=1),
    "input": _INPUT,
    "encoding_format": {"enum": ["float", "base64"]},
    "dimensions": {"type": "integer", "minimum": 1, "maximum": 100_000},
    "user": {},
}
_REQUIRED = ("model", "input")
REQUEST = closed(_PARAMETERS, required=_REQUIRED)
"""What `POST /v1/embeddings` takes, once what is null is left out."""
REQUEST_BODY = sent_schema(
    _PARAMETERS,
    _REQUIRED,
    ignored=(),
    refused={},
    name="EmbeddingRequest",
    example={"model": "nexus/chat", "input": ["leave", "trains"]},
)
_VECTOR = {"anyOf": [array({"type": "number"}), {"type": "string"}]}
_EMBEDDING = closed({"object": {"const": "embedding"}, "index": _INTEGER, "embedding": _VECTOR}, name="Embedding")
_USAGE = or_null(closed({"prompt_tokens": _INTEGER, "total_tokens": _INTEGER}, name="EmbeddingUsage"))
EMBEDDINGS = closed(
    {"object": {"const": "list"}, "data": array(_EMBEDDING), "model": {"type": "string"}, "usage": _USAGE},
    required=("object", "data", "model", "usage"),
    name="EmbeddingList",
)


class EmbeddingsApi:
    """Makes vectors for clients."""

    def __init__(self, models: PipelineModels, gate: AccessControl, settings: ServerSettings) -> None:
        self._models = models
        self._gate = gate
        self._settings = settings
        self._check = checker(REQUEST)

    def routes(self) -> Sequence[Route]:
        """Return the routes of this part."""
        return [
            Route(
                method="POST", path="/v1/embeddings", handler=self.embed, scope="query", bare=True, openai=True,
                name="createEmbeddings", summary="Return a vector for each text, by the embedder of a pipeline.",
                body=REQUEST_BODY, answer=EMBEDDINGS, errors=(400, 404, 502, 503, 504),
            ),
        ]  # fmt: skip

    async def embed(self, request: web.Request) -> web.Response:
        """Answer with the vectors of some texts."""
        body = served_parameters(await read_json(request, self._settings.limits), {})
        _refuse_tokens(body.get("input"))
        body = self._check(body)
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        blank = next((place for place, each in enumerate(texts) if not each.strip()), None)
        if blank is not None:
            where = "input" if isinstance(body["input"], str) else f"input[{blank}]"
            raise Failure(400, "invalid_request", f"{where} is blank: send texts", param=where)
        pipeline = await self._models.pipeline(request, body["model"])
        if not pipeline.embeds:
            said = f"pipeline {pipeline.name!r} has no embedder: add a step such as `rank: semantic` to it"
            raise Failure(400, "unsupported_model", said, param="model")
        owner, deadline_s, admitted = identity(request).owner, self._settings.deadline_s, request.get(ADMITTED_REQUEST)
        async with self._gate.slot() if admitted is None else self._gate.slot(admitted.key_id):
            on_event = None if admitted is None else admitted.begin()
            vectors = await pipeline.embed(texts, on_event=on_event, owner=owner, deadline_s=deadline_s)
        return json_answer(_embeddings_json(body, vectors))


def _refuse_tokens(given: Any) -> None:
    """Raise Failure for tokens in place of texts: whose numbers they are is not known."""
    first = given[0] if isinstance(given, list) and given else None
    if isinstance(first, int | list):
        said = "input holds tokens, and texts are taken (LangChain sends texts with check_embedding_ctx_length=False)"
        raise Failure(400, "unsupported_parameter", said, param="input")


def _embeddings_json(body: dict[str, Any], vectors: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Return the answer; the model of it is the one that was asked, since what makes the vectors may be a path."""
    width = body.get("dimensions")
    if width is not None and width != len(vectors[0]):
        said = f"the embedder of this model makes vectors of {len(vectors[0]):,} dimensions: leave `dimensions` out"
        raise Failure(400, "unsupported_parameter", said, param="dimensions")
    encode = _encoded if body.get("encoding_format") == "base64" else list
    tokens = vectors.usage.prompt_tokens if isinstance(vectors, Results) else None
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": place, "embedding": encode(vector)} for place, vector in enumerate(vectors)
        ],
        "model": body["model"],
        "usage": None if tokens is None else {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _encoded(vector: Sequence[float]) -> str:
    """Return a vector as OpenAI's client asks for it: little-endian numbers of four bytes, in base64."""
    floats = numbers("f", vector)
    if byteorder == "big":
        floats.byteswap()
    return b64encode(floats.tobytes()).decode()
