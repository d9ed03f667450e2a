"""The connector suite: proves that a connector keeps the contract, at a service that does everything wrong on purpose.

class TestAcme(ConnectorContract):
    dialect = OpenAIDialect()

    def make(self, url):
        return Acme(model="m", base_url=url, api_key=Secret(self.canary))
"""

from __future__ import annotations

from nexus_core.testing.contracts.answering import AnswerTests
from nexus_core.testing.contracts.behaving import BehaviourTests
from nexus_core.testing.contracts.failing import FailureTests


class ConnectorContract(AnswerTests, FailureTests, BehaviourTests):
    """Holds a connector to the contract; a subclass defines `make` and `dialect`, `None` where there is no service."""
