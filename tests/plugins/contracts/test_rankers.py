"""The rankers keep the contract of rankers."""

from __future__ import annotations

from nexus_rankers.bm25 import Bm25
from nexus_rankers.fuse import Fuse
from nexus_rankers.mmr import Mmr
from nexus_rankers.recency import Recency

from nexus_core import Ranker
from nexus_core.testing import RankerContract


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
