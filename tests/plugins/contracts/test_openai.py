"""The connector `openai` keeps the contract of connectors."""

from __future__ import annotations

import pytest
from nexus_openai.connector import OpenAI

from nexus_core import Secret
from nexus_core.testing import ConnectorContract, OpenAIDialect

pytestmark = pytest.mark.slow


class TestOpenAI(ConnectorContract):
    """The service speaks the protocol of OpenAI."""

    dialect = OpenAIDialect()

    def make(self, url: str) -> OpenAI:
        return OpenAI(model="test-model", base_url=url, api_key=Secret(self.canary))
