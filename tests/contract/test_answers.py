"""What an answer knows of itself."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve

from nexus_core import Item, Pipeline


async def test_an_answer_says_which_items_it_cites(tmp_path: Path) -> None:
    """Those whose numbers stand in its text, in the order of the prompt, each once."""
    (tmp_path / "x.yaml").write_text("name: x\nmodels: {m: extractive}\nsteps:\n- prompt: qa\n- generate: m\n")
    items = [Item(id="a", text="Trains run."), Item(id="b", text="Cars drive."), Item(id="c", text="Planes fly.")]
    async with Pipeline.load(tmp_path / "x.yaml") as pipeline:
        answer = evolve(await pipeline.run("What?", items=items), text="Planes [3], trains [1], trains [1], ships [9].")
    assert [packed.item.id for packed in answer.cited_items] == ["a", "c"]
