"""`nexus batch --dry-run`: what would be sent for each record, and how many tokens that takes."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import define

from nexus_core.batch.batch import BatchSettings, load_pipeline, read_records
from nexus_core.batch.record_runner import prices_of
from nexus_core.batch.records import BatchRecord
from nexus_core.cli.event_loop import run
from nexus_core.cli.output.batch_progress import money
from nexus_core.cli.output.echo import echo
from nexus_core.contract.errors import NexusError
from nexus_core.engine.calls.prompt_fitting import longest_answer
from nexus_core.engine.pipeline import Pipeline
from nexus_core.toolkit.suggest import counted


@define
class _Sums:
    records: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    most_tokens: int = 0
    most_cost: float | None = 0.0


def dry_run(settings: BatchSettings) -> None:
    """Print one JSON object for each record on standard output, and the sums on stderr; no model is asked."""
    if str(settings.input) != "-":
        run(_dry_run(settings, settings.input))
        return
    with TemporaryDirectory() as folder:
        spool = Path(folder, "input")
        with spool.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        run(_dry_run(settings, spool))


async def _dry_run(settings: BatchSettings, source: Path) -> None:
    sums = _Sums()
    async with load_pipeline(settings) as pipeline:
        for line, record, problem in read_records(settings, pipeline, source, settings.input_format):
            sums.records += 1
            try:
                if problem is not None:
                    raise NexusError(problem)
                shown = await _explained(settings, pipeline, record, sums)
            except NexusError as error:
                sums.failed += 1
                shown = {"error": str(error)}
            echo(json.dumps({"id": record.id, "line": line, **shown}, ensure_ascii=False))
    echo(
        f"{counted(sums.records, 'record')}, {sums.failed:,} of them could not be prepared; "
        f"{counted(sums.prompt_tokens, 'token')} of prompts,"
        f" at most {sums.most_tokens:,} with the answers, {money(sums.most_cost)} if each is asked "
        "once; nothing was sent",
        err=True,
    )


async def _explained(settings: BatchSettings, pipeline: Pipeline, record: BatchRecord, sums: _Sums) -> dict[str, Any]:
    """Return what would be sent for a record, and add up its tokens."""
    found = await pipeline.explain(
        record.query,
        inputs={**settings.inputs, **record.inputs},
        context_id=record.context,
        model=settings.model,
    )
    prompt, model = found.prompt, found.model
    tokens = prompt.tokens_at_most if prompt.prompt_tokens is None else prompt.prompt_tokens
    longest = longest_answer(model.options, prompt.max_output, model.info.max_output, prompt.window - tokens)
    sums.prompt_tokens += tokens
    sums.most_tokens += tokens + longest
    prices = prices_of(pipeline.models)
    costs = [prices[each.name].most(tokens, longest) for each in pipeline.models.chain(model.name)]
    cost = None if None in costs else max(cost for cost in costs if cost is not None)  # one of them answers
    sums.most_cost = None if cost is None or sums.most_cost is None else sums.most_cost + cost
    messages = [{"role": message.role, "content": message.text} for message in prompt.messages]
    figures = {"promptTokens": tokens, "longestAnswer": longest, "mostCost": cost}
    return {"model": model.name, **figures, "messages": messages}
