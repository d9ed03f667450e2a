"""The rankers keep the contract of rankers."""

from __future__ import annotations

import pytest
from nexus_rankers.bm25 import Bm25
from nexus_rankers.fuse import Fuse
from nexus_rankers.links import Links
from nexus_rankers.mmr import Mmr
from nexus_rankers.recency import Recency
from nexus_rankers.rerank import Rerank
from nexus_rankers.semantic import Semantic

from nexus_core import Ranker
from nexus_core.testing import FakeConnector, RankerContract

pytestmark = pytest.mark.slow


class TestBm25(RankerContract):
    def make(self) -> Ranker:
        return Bm25()


class TestMmr(RankerContract):
    def make(self) -> Ranker:
        return Mmr()


class TestRecency(RankerContract):
    def make(self) -> Ranker:
        return Recency(now="2026-02-01")


class TestFuse(RankerContract):
    def make(self) -> Ranker:
        return Fuse(rankers=(Bm25(), Recency(now="2026-02-01")))


class TestSemantic(RankerContract):
    def make(self) -> Ranker:
        return Semantic()


class TestFuseOfBoth(RankerContract):
    def make(self) -> Ranker:
        return Fuse(rankers=(Bm25(), Semantic()))


class TestLinks(RankerContract):
    def make(self) -> Ranker:
        return Links(rounds=2)


class TestRerank(RankerContract):
    def make(self) -> Ranker:
        return Rerank(model=FakeConnector(replies=["[1] > [2] > [3]"]))
