"""The sinks keep the contract of sinks."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest
from nexus_jsonl.sink import JsonlSink
from nexus_sinks.log import Log

from nexus_core import Sink
from nexus_core.testing import SinkContract

pytestmark = pytest.mark.slow


class TestJsonl(SinkContract):
    def make(self, folder: Path) -> Sink:
        return JsonlSink(path=str(folder / "deep" / "runs.jsonl"), durable=False)


class TestLog(SinkContract):
    absent: ClassVar[Mapping[str, str]] = {"failure": "logging itself reports what a handler cannot write, and goes on"}

    @pytest.fixture(autouse=True)
    def _logged(self, tmp_path: Path) -> Iterator[None]:
        logger = logging.getLogger("suite.of.sinks")
        handler = logging.FileHandler(tmp_path / "log.txt", encoding="utf-8")
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        yield
        logger.removeHandler(handler)
        handler.close()

    def make(self, folder: Path) -> Sink:
        return Log(logger="suite.of.sinks")
