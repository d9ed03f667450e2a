"""The rewriting of a question takes a fifth of the time that the answer has."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import Any

import pytest

from nexus_core import AttemptFinished, Event, Message, ModelInfo, Pipeline, component, hookimpl
from nexus_core.engine.plugins import Origin, PluginRegistry
from nexus_core.testing.fakes import FakeConnector

TEXT = "name: x\nrewrite: true\nmodels: {m: mute}\nsteps:\n- rank: bm25\n- generate: m\n"
HISTORY = (Message("user", "What is a mill?"), Message("assistant", "A house with a wheel."))


def mute() -> Any:
    """Return a plugin whose model says nothing until the second request."""
    fake = FakeConnector(
        model_info=ModelInfo(id="m", provider="m", window=4096, capabilities=frozenset({"generate"})),
        replies=([inf], "An answer."),
    )

    @component
    class Mute:
        """Says nothing first."""

        model_info = fake.model_info

        async def send_prompt(self, prompt: Any, options: Any) -> Any:
            return await fake.send_prompt(prompt, options)

        def stream_response(self, prompt: Any, options: Any) -> Any:
            return fake.stream_response(prompt, options)

    class Module:
        nexus_connectors = staticmethod(hookimpl(lambda: [Mute], specname="nexus_connectors"))

    return Module


@pytest.mark.parametrize(
    ("calls", "deadline_s", "fifth"),
    [("", None, 24.0), ("calls: {deadline: 10s}\n", None, 2.0), ("", 5.0, 1.0), ("calls: {deadline: 5s}\n", 50.0, 1.0)],
    ids=["default", "of the pipeline", "of the caller", "the shorter one"],
)
def test_a_rewriting_takes_a_fifth_of_the_deadline(
    loop: Any, tmp_path: Path, calls: str, deadline_s: float | None, fifth: float
) -> None:
    """Then the question is searched for by its words, and answered; the row says that the time was up."""
    (tmp_path / "p.yaml").write_text(calls + TEXT)
    catalogue = PluginRegistry.installed()
    origins = [origin for group in catalogue._origins.values() for origin in group]
    known = PluginRegistry([*origins, Origin(name="mute", target="mute", load=mute)])
    rows: list[tuple[str, str, float]] = []

    def hear(event: Event) -> None:
        if isinstance(event, AttemptFinished):
            rows.append((event.purpose, event.outcome, loop.time() - 1000))

    async def ask() -> str:
        async with Pipeline.load(tmp_path / "p.yaml", catalogue=known, environment={}) as pipeline:
            return (await pipeline.run("And why?", history=HISTORY, deadline_s=deadline_s, on_event=hear)).text

    assert loop.run_until_complete(ask()) == "An answer."
    assert [row[:2] for row in rows] == [("rewrite", "timeout"), ("answer", "ok")]
    assert rows[0][2] == pytest.approx(fifth, rel=0.05)
