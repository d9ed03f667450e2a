"""The connector `openai` keeps the contract of connectors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from nexus_openai.connector import OpenAI

from nexus_core import Secret
from nexus_core.testing import ConnectorContract, EmbedderContract, OpenAIDialect, RerankerContract

pytestmark = pytest.mark.slow


class TestOpenAI(ConnectorContract):
    """The service speaks the protocol of OpenAI."""

    dialect = OpenAIDialect()

    def make(self, url: str) -> OpenAI:
        return OpenAI(model="test-model", base_url=url, api_key=Secret(self.canary))


class TestParts(ConnectorContract):
    """A model that takes images, files, tools and schemas."""

    dialect = OpenAIDialect()

    def make(self, url: str) -> OpenAI:
        takes: Any = ("tools", "vision", "files", "schema")
        return OpenAI(
            model="test-model", base_url=url, api_key=Secret(self.canary), capabilities=takes, file_tokens=1000
        )


class TestVectors(EmbedderContract):
    """Embeddings."""

    def make(self, url: str) -> OpenAI:
        return OpenAI(model="test-model", base_url=url, api_key=Secret(self.canary))

    def answer(self, vectors: Sequence[Sequence[float]]) -> bytes:
        rows = [{"index": place, "embedding": list(vector)} for place, vector in enumerate(vectors)]
        return json.dumps({"object": "list", "data": rows[::-1]}).encode()


class TestRelevance(RerankerContract):
    """Reranking."""

    def make(self, url: str) -> OpenAI:
        return OpenAI(model="test-model", base_url=url, api_key=Secret(self.canary))

    def answer(self, relevances: Sequence[float]) -> bytes:
        rows = [{"index": place, "relevance_score": value} for place, value in enumerate(relevances)]
        return json.dumps({"results": sorted(rows, key=lambda row: -row["relevance_score"])}).encode()
