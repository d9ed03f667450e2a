"""The connector `extractive` keeps the contract of connectors."""

from __future__ import annotations

import pytest
from nexus_extractive.connector import Extractive

from nexus_core.testing import ConnectorContract

pytestmark = pytest.mark.slow


class TestExtractive(ConnectorContract):
    """There is no service: it answers with what is in the prompt."""

    dialect = None

    def make(self, url: str) -> Extractive:
        return Extractive()
