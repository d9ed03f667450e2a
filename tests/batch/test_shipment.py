"""A pipeline by value: what is sent to other machines, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nexus_core import Pipeline, UsageError
from nexus_core.batch import BatchJob, PipelineShipment, pack_pipeline, shipment as shipments

STEPS = "  - prompt: qa\n  - generate: main\n"
MODEL = "name: p\nmodels: {main: {use: extractive}}\n"


def pack(folder: Path, text: str, *overrides: str) -> PipelineShipment:
    """Pack a pipeline in a folder of its own below."""
    file = folder / "pipelines" / "p.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return pack_pipeline(BatchJob(pipeline=file, overrides=overrides))


async def test_a_shipment_runs_where_nothing_of_its_machine_is(tmp_path: Path) -> None:
    """Files in a folder beside the pipeline, with the times of their changes, and a template."""
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "docs").mkdir(parents=True)
    document = here / "docs" / "leave.md"
    document.write_text("# Leave\nYou have thirty days of leave.\n")
    os.utime(document, ns=(5, 1_234_567_891_234_567_891))
    (here / "ask.jinja").write_text("{{ items[0].text }} {{ query }}")
    gather = "steps:\n  - gather: {use: files, root: ../docs, paths: '*.md'}\n"
    text = f"{MODEL}{gather}  - prompt: {{template: ../ask.jinja}}\n  - generate: main\n"
    shipment = pack(here, text)
    here.rename(tmp_path / "gone")
    there.mkdir()
    async with Pipeline.load(shipment.unpack(there)) as pipeline:
        answer = await pipeline.run("How many days of leave do I have?")
    assert answer.text.startswith("You have thirty days of leave.")
    assert (there / "docs" / "leave.md").stat().st_mtime_ns == 1_234_567_891_234_567_891


def test_a_shipment_has_the_variables_of_the_environment_as_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret stays in the environment."""
    monkeypatch.setenv("SOME_KEY", "sk-secret-value")
    model = 'name: p\nmodels: {main: {use: openai, model: gpt-4o-mini, api_key: "${SOME_KEY}"}}\n'
    shipment = pack(tmp_path, f"{model}steps:\n{STEPS}", "models.main.base_url=http://localhost/${SOME_KEY}")
    assert all(b"sk-secret-value" not in file.data for file in shipment.files)
    assert "sk-secret-value" not in str(shipment)
    assert shipment.plugins == {"contextnexus": ("openai", "qa")}


def test_recordings_are_refused(tmp_path: Path) -> None:
    """They are files of one machine."""
    (tmp_path / "p.yaml").write_text(f"{MODEL}steps:\n{STEPS}")
    with pytest.raises(UsageError, match="recordings are files of this machine: .*--engine local"):
        pack_pipeline(BatchJob(pipeline=tmp_path / "p.yaml", record=tmp_path / "recordings"))


def test_a_shipment_changes_its_digest_with_its_content(tmp_path: Path) -> None:
    """By which a worker knows that it has got what was sent."""
    first, second = (pack(tmp_path, f"{MODEL}steps:\n{STEPS}# {number}\n") for number in range(2))
    assert first.digest != second.digest
    assert len(first.digest) == 64


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{use: store, context: handbook}", r"steps\[0\].gather searches a store, .* `--engine local`"),
        ("{use: files, root: PLACE, paths: '*.md'}", r"steps\[0\].gather reads PLACE.*a.md, which other machines"),
    ],
    ids=["store", "absolute"],
)
def test_what_one_machine_alone_has_is_refused(tmp_path: Path, source: str, reason: str) -> None:
    """The error names the step, and says what to do."""
    (tmp_path / "a.md").write_text("A fact.")
    source, reason = source.replace("PLACE", str(tmp_path)), reason.replace("PLACE", str(tmp_path))
    with pytest.raises(UsageError, match=reason):
        pack(tmp_path, f"{MODEL}steps:\n  - gather: {source}\n{STEPS}")


def test_more_files_than_are_sent_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their size is known before they are read."""
    monkeypatch.setattr(shipments, "LARGEST", 2**20)
    (tmp_path / "a.md").write_text("Words. " * 2**18)
    with pytest.raises(UsageError, match=r"steps\[0\].gather reads files .* larger than the 1 MiB .*--engine local"):
        pack(tmp_path, f"{MODEL}steps:\n  - gather: {{use: files, root: .., paths: a.md}}\n{STEPS}")


def test_the_limits_of_a_pipeline_are_shared_by_machines(tmp_path: Path) -> None:
    """Each gets an equal part, in whole numbers; together they send no more than one machine would."""
    limits = "limits: {requests_per_minute: 201, concurrency: 5}"
    model = f"name: p\nmodels: {{main: {{use: extractive, {limits}}}}}\n"
    shipment = pack(tmp_path, f"{model}steps:\n{STEPS}")
    assert shipment.most_shares() == 5
    assert sorted(shipment.overrides(2)) == [
        "models.main.limits.concurrency=2",
        "models.main.limits.requests_per_minute=100",
    ]
    Pipeline.load(shipment.job.pipeline, overrides=shipment.overrides(2))
