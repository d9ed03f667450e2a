"""`Batch`: a pipeline over a file of questions. Begin it, or open what is there; run it; export what it has.

Guarantee: at least once upstream, exactly once for each record in the output. What a process that is killed had under
way is done again; every request stands in the journal before it is sent, so that nothing was paid for in secret.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, BinaryIO, Literal

from attrs import evolve, field, frozen

from nexus_core.batch.concurrency import AdaptiveConcurrency
from nexus_core.batch.control import BatchBudget, BatchControl, BatchStop
from nexus_core.batch.engines import LOCAL, BatchEngine, BatchJob, engine_of
from nexus_core.batch.export import export
from nexus_core.batch.input_files import Format, Row, format_of, read_rows
from nexus_core.batch.journal import BatchTotals, Journal
from nexus_core.batch.records import BatchRecord, parse_record
from nexus_core.batch.run_folder import BatchManifest, BatchRefusedError, RunFolder, digests, installed_versions
from nexus_core.contract.errors import NexusError, UsageError
from nexus_core.contract.protocols import AnswerCache
from nexus_core.contract.values import Value
from nexus_core.engine.pipeline import Pipeline
from nexus_core.recordings.replayer import replay_environment

CONCURRENCY = 64
"""Records at once, if the service takes so many."""
_SHOWN = 20
"""Bad lines that are told of at once."""


@frozen(kw_only=True, eq=False)
class BatchSettings(Value):
    """What a batch is begun with."""

    pipeline: Path
    input: Path
    """`-` is standard input."""
    output: Path
    format: str | None = None
    """Of the input, where its name does not tell."""
    engine: str = LOCAL
    engine_options: Mapping[str, str] = field(factory=dict)
    model: str | None = None
    context: str | None = None
    inputs: Mapping[str, Any] = field(factory=dict)
    overrides: tuple[str, ...] = ()
    limit: int | None = None
    """So many records, the first."""
    sample: int | None = None
    """So many records, chosen at random, in their order; the same ones each time."""
    bad_lines: Literal["refuse", "fail"] = "refuse"
    """Whether a line that is no record refuses the batch, or is a failed record of it."""
    timings: bool = False
    record: Path | None = None
    replay: Path | None = None
    """The folder of recordings to write, or to answer from."""

    @property
    def output_format(self) -> Format:
        """The format of the output; raises UsageError for a name that tells none."""
        found = format_of(self.output)
        if found == "csv":
            raise UsageError(f"{self.output}: results are written as .jsonl or .parquet")
        return found

    @property
    def input_format(self) -> Format:
        """The format of the input; raises UsageError for a name that tells none."""
        return format_of(self.input, self.format or ("jsonl" if str(self.input) == "-" else None))

    def deciding(self) -> dict[str, Any]:
        """Return what decides the answers besides the files, as a manifest keeps it."""
        return {
            "model": self.model,
            "context": self.context,
            "inputs": dict(self.inputs),
            "overrides": list(self.overrides),
            "limit": self.limit,
            "sample": self.sample,
            "bad_lines": self.bad_lines,
            "timings": self.timings,
            "engine_options": dict(self.engine_options),
            "record": None if self.record is None else str(self.record.absolute()),
            "replay": None if self.replay is None else str(self.replay.absolute()),
        }

    @classmethod
    def of(cls, manifest: BatchManifest) -> BatchSettings:
        """Return the settings that a batch was begun with."""
        kept = dict(manifest.settings)
        return cls(
            pipeline=Path(manifest.pipeline),
            input=Path(manifest.input),
            output=Path(manifest.output),
            format=manifest.input_format,
            engine=manifest.engine,
            **kept
            | {"overrides": tuple(kept["overrides"])}
            | {name: Path(kept[name]) for name in ("record", "replay") if kept[name] is not None},
        )


def load_pipeline(settings: BatchSettings) -> Pipeline:
    """Return the pipeline of a batch, which asks nobody: to check an input, and to show prompts."""
    environment = os.environ if settings.replay is None else replay_environment(os.environ)
    return Pipeline.load(settings.pipeline, overrides=settings.overrides, environment=environment)


def check_prices(settings: BatchSettings) -> None:
    """Raise UsageError for the first model whose price is unknown: a budget in money needs all of them."""
    for model in load_pipeline(settings).models.targets():
        if model.prices is None and "offline" not in model.info.capabilities:
            raise UsageError(
                f"the price of the model {model.name!r} ({model.info.id}) is unknown, so that no budget in money can "
                "be kept: say `prices: {input: ..., output: ...}` on it, in US dollars per million tokens, or install "
                "contextnexus[prices]"
            )


class Batch:
    """One batch in its folder, locked for this process."""

    def __init__(self, folder: RunFolder, settings: BatchSettings, journal: Journal) -> None:
        self.folder = folder
        self.settings = settings
        self.journal = journal

    @classmethod
    @contextmanager
    def begin(cls, folder: RunFolder, settings: BatchSettings) -> Iterator[Batch]:
        """Make a batch of an input that is right as a whole; raises UsageError, with nothing left behind."""
        _ = settings.output_format  # a name that tells none is refused before anything is made
        engine_of(settings.engine)  # and so is an engine that is not there
        pipeline = load_pipeline(settings)
        format = settings.input_format
        if not settings.output.absolute().parent.is_dir():
            raise UsageError(f"cannot write {settings.output}: there is no folder {settings.output.absolute().parent}")
        if settings.output.exists() and settings.input.exists() and settings.output.samefile(settings.input):
            raise UsageError(f"{settings.output} is the input: name another output")
        if settings.output.is_dir():
            raise UsageError(f"cannot write {settings.output}: it is a folder")
        folder.create()
        with folder.locked():
            folder.clear()
            spooled = str(settings.input) == "-"
            if spooled:
                _spool(sys.stdin.buffer, folder.spool)
            source = folder.spool if spooled else settings.input
            try:
                journal = Journal.create(folder.journal)
                try:
                    records = journal.add(read_records(settings, pipeline, source, format))
                    if not records:
                        raise UsageError(f"{settings.input} holds no record")
                    folder.write_manifest(_manifest(settings, pipeline, source, format, records))
                except BaseException:
                    journal.close()
                    raise
            except BaseException as error:
                folder.discard()
                if spooled and isinstance(error, UsageError):
                    raise UsageError(f"{error}\nWhat came on standard input is in {folder.spool}") from error
                raise
            try:
                yield cls(folder, evolve(settings, format=format), journal)
            except NexusError:
                if not journal.totals().requests:  # what its engine has refused was never begun
                    folder.discard()
                raise
            finally:
                journal.close()

    @classmethod
    @contextmanager
    def open(cls, folder: RunFolder, *, force: bool = False) -> Iterator[Batch]:
        """Open a batch that was begun, to go on with it.

        Raises BatchRefusedError where another process runs it, or, unless `force`, where it was begun with something
        else.
        """
        manifest = folder.read_manifest()
        settings = BatchSettings.of(manifest)
        with folder.locked():
            pipeline = load_pipeline(settings)
            source = folder.spool if manifest.input == "-" else settings.input
            now = _manifest(settings, pipeline, source, manifest.input_format, manifest.records)
            changes = now.changes_since(manifest)
            if changes and not force:
                raise BatchRefusedError(
                    f"{folder.path} was begun with something else, and its output would mix both: "
                    + "; ".join(changes)
                    + ". Put it back, begin a new batch, or say --force to go on all the same"
                )
            journal = Journal.open(folder.journal, writes=True)
            try:
                if (records := journal.totals().records) != manifest.records:
                    raise BatchRefusedError(
                        f"{folder.journal} has {records:,} records, and the batch was begun with {manifest.records:,}: "
                        "it is not the journal of this batch, or was cut"
                    )
                journal.settle()
                if changes:
                    folder.write_manifest(now)
                yield cls(folder, settings, journal)
            finally:
                journal.close()

    def job(self) -> BatchJob:
        """Return what an engine needs to know."""
        settings = self.settings
        return BatchJob(
            pipeline=settings.pipeline.absolute(),
            overrides=settings.overrides,
            model=settings.model,
            inputs=settings.inputs,
            options=settings.engine_options,
            record=settings.record,
            replay=settings.replay,
        )

    def engine(self, answers: AnswerCache | None = None) -> BatchEngine:
        """Return the engine that it was begun with; `answers` is for models with a `cache`."""
        return engine_of(self.settings.engine, answers)

    async def run(
        self, control: BatchControl, hurry: asyncio.Event, engine: BatchEngine | None = None
    ) -> tuple[BatchTotals, BatchStop | None]:
        """Run every record that has no result; returns how far it came, and why it stopped where it did."""
        engine = engine or self.engine()
        job = self.job()
        await engine.check(job)
        await engine.run(job, control, hurry)
        self.journal.commit()
        return self.journal.totals(), control.stopped

    def control(self, *, concurrency: int = CONCURRENCY, budget: BatchBudget | None = None) -> BatchControl:
        """Return the control for one run of it."""
        return BatchControl(self.journal, AdaptiveConcurrency(concurrency), budget)

    def export(self, output: Path | None = None, *, timings: bool | None = None) -> int:
        """Write what there is of results, to its own output if no other is named; returns how many there are."""
        target = evolve(self.settings, output=output) if output else self.settings
        wanted = self.settings.timings if timings is None else timings
        return export(self.journal, target.output, target.output_format, timings=wanted)


def _manifest(settings: BatchSettings, pipeline: Pipeline, source: Path, format: str, records: int) -> BatchManifest:
    return BatchManifest(
        pipeline=str(settings.pipeline.absolute()),
        input=str(settings.input) if str(settings.input) == "-" else str(settings.input.absolute()),
        output=str(settings.output.absolute()),
        input_format=format,
        engine=settings.engine,
        settings=settings.deciding(),
        files=digests([source.absolute(), *(path.absolute() for path in pipeline.files)]),
        records=records,
        versions=installed_versions(),
    )


def _spool(stream: BinaryIO, path: Path) -> None:
    path.touch(mode=0o600)
    with path.open("wb") as file:
        shutil.copyfileobj(stream, file)


def read_records(
    settings: BatchSettings, pipeline: Pipeline, source: Path, format: Format
) -> Iterator[tuple[int, BatchRecord, str | None]]:
    """Yield the records of an input with their lines and what is wrong with them.

    Raises UsageError that tells of the bad lines, where these refuse the batch.
    """
    chosen = _sample(source, format, settings.sample) if settings.sample is not None else None
    bad: list[str] = []
    count = 0
    for number, row in enumerate(read_rows(source, format)):
        if settings.limit is not None and count >= settings.limit:
            break
        if chosen is not None and number not in chosen:
            continue
        line, record, problem = _checked(settings, pipeline, row)
        if problem is not None and settings.bad_lines == "refuse":
            bad.append(f"line {line}: {problem}")
            if len(bad) > _SHOWN:
                break
            continue
        count += 1
        yield line, record, problem
    if bad:
        more = "\n  and more" if len(bad) > _SHOWN else ""
        raise UsageError(
            f"{settings.input} has lines that are no records, so that nothing was run:\n  "
            + "\n  ".join(bad[:_SHOWN])
            + more
            + "\nCorrect them, or say `--bad-lines fail` to have them as failed records in the output"
        )


def _checked(settings: BatchSettings, pipeline: Pipeline, row: Row) -> tuple[int, BatchRecord, str | None]:
    line, data = row
    try:
        if isinstance(data, UsageError):
            raise data
        record = parse_record(data)
        record = evolve(record, context=record.context or settings.context)
        if pipeline.takes_context and record.context is None:
            raise UsageError(
                f"the pipeline {pipeline.name!r} asks a context and the record names none: add `context`, or say "
                "--context"
            )
        pipeline.check(record.query, inputs={**settings.inputs, **record.inputs}, model=settings.model)
    except UsageError as error:
        return line, BatchRecord(id=f"line-{line}", query="", has_own_id=False), str(error)
    return line, record, None


def _sample(source: Path, format: Format, size: int) -> frozenset[int]:
    """Return which records are chosen, by their number: reservoir sampling (Vitter 1985, algorithm R)."""
    chooser, chosen = Random(0), list[int]()
    for number, _ in enumerate(read_rows(source, format)):
        if number < size:
            chosen.append(number)
        elif (place := chooser.randrange(number + 1)) < size:
            chosen[place] = number
    return frozenset(chosen)
