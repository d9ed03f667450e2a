"""`Batch`: a pipeline over a file of questions. Begin it, or open what is there; run it; export what it has.

Guarantee: at least once upstream, exactly once for each record in the output. What a process that is killed had under
way is done again; every request stands in the journal before it is sent, so that nothing was paid for in secret.
"""

from __future__ import annotations

import asyncio
import os
import re
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
from nexus_core.batch.input_files import SUFFIXES, Format, Row, format_of, read_rows
from nexus_core.batch.journal import BatchTotals, Journal
from nexus_core.batch.records import BatchRecord, parse_record
from nexus_core.batch.run_folder import BatchManifest, BatchRefusedError, RunFolder, digests, installed_versions
from nexus_core.contract.errors import NexusError, UsageError, describe_error
from nexus_core.contract.protocols import AnswerCache
from nexus_core.contract.values import Value
from nexus_core.engine.pipeline import Pipeline
from nexus_core.recordings.replayer import recording_interceptor, replay_environment
from nexus_core.toolkit.shared_resources import SharedResources
from nexus_core.toolkit.suggest import counted, did_you_mean, listed

CONCURRENCY = 64
"""Records at once, if the service takes so many."""
_SHOWN = 20
"""Problems of lines that are told of at once, and"""
_LINES_SHOWN = 5
"""the lines of each."""


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
    fresh: bool = False
    """Models are asked though an answer is in their cache."""
    concurrency: int = CONCURRENCY
    budget: BatchBudget = BatchBudget()
    keeps_going: bool = False
    """No number of failures in a row stops it."""
    overwrite: bool = False
    """The output may be a file that is there and is not of this batch."""
    record: Path | None = None
    replay: Path | None = None
    """The folder of recordings to write, or to answer from."""
    programs: tuple[str, ...] | None = None
    """Those that components may start; said anew by whoever goes on with the batch, and kept nowhere."""

    @property
    def output_format(self) -> Format:
        """The format of the output; raises UsageError for a name that tells none."""
        return output_format(self.output)

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
            "fresh": self.fresh,
            "engine_options": dict(self.engine_options),
            "record": None if self.record is None else str(self.record.absolute()),
            "replay": None if self.replay is None else str(self.replay.absolute()),
        }

    def limits(self) -> dict[str, Any]:
        """Return what may differ from one run of a batch to the next, as a manifest keeps it."""
        return {
            "concurrency": self.concurrency,
            "tokens": self.budget.tokens,
            "cost": self.budget.cost,
            "keeps_going": self.keeps_going,
        }

    @classmethod
    def of(cls, manifest: BatchManifest) -> BatchSettings:
        """Return the settings that a batch was begun with."""
        try:
            return cls._of(manifest, dict(manifest.settings))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"the manifest of the batch cannot be read: {describe_error(error)}") from error

    @classmethod
    def _of(cls, manifest: BatchManifest, kept: dict[str, Any]) -> BatchSettings:
        kept.pop("models")
        return cls(
            pipeline=Path(manifest.pipeline),
            input=Path(manifest.input),
            output=Path(manifest.output),
            format=manifest.input_format,
            engine=manifest.engine,
            concurrency=manifest.limits["concurrency"],
            budget=BatchBudget(tokens=manifest.limits["tokens"], cost=manifest.limits["cost"]),
            keeps_going=manifest.limits["keeps_going"],
            **kept
            | {"overrides": tuple(kept["overrides"])}
            | {name: Path(kept[name]) for name in ("record", "replay") if kept[name] is not None},
        )


def load_pipeline(settings: BatchSettings) -> Pipeline:
    """Return the pipeline of a batch, which asks nobody: to check an input, and to show prompts."""
    environment = os.environ if settings.replay is None else replay_environment(os.environ)
    shared = SharedResources(programs=settings.programs)
    return Pipeline.load(settings.pipeline, overrides=settings.overrides, environment=environment, shared=shared)


def check_prices(settings: BatchSettings) -> None:
    """Raise UsageError for the first model whose price is unknown: a budget in money needs all of them."""
    for model in load_pipeline(settings).models.targets():
        if model.prices is None and "offline" not in model.info.capabilities:
            raise UsageError(
                f"the price of the model {model.name!r} ({model.info.id}) is unknown, so that no budget in money can "
                "be kept: say `prices: {input: ..., output: ...}` on it, in US dollars per million tokens, or install "
                "contextnexus[prices]"
            )


def output_format(path: Path) -> Format:
    """Return the format of results by the name of their file; raises UsageError for another one."""
    found = SUFFIXES.get(path.suffix.lower())
    if found not in ("jsonl", "parquet"):
        raise UsageError(f"{path}: results are written as .jsonl or .parquet, name the file so")
    return format_of(path)


def check_output(path: Path, *, overwrite: bool = False) -> None:
    """Raise UsageError where results cannot be written to a file, or would replace one that is somebody's."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"cannot write {path}: there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"cannot write {path}: no right to write in {folder}")
    if path.is_dir():
        raise UsageError(f"cannot write {path}: it is a folder")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} is there already: name another output, or say --overwrite to replace it")


class Batch:
    """One batch in its folder, locked for this process."""

    def __init__(self, folder: RunFolder, settings: BatchSettings, journal: Journal, pipeline: Pipeline) -> None:
        self.folder = folder
        self.settings = settings
        self.journal = journal
        self._history_characters = pipeline.history_characters

    @classmethod
    @contextmanager
    def begin(cls, folder: RunFolder, settings: BatchSettings) -> Iterator[Batch]:
        """Make a batch of an input that is right as a whole; raises UsageError, with nothing left behind."""
        _ = settings.output_format  # a name that tells none is refused before anything is made
        engine_of(settings.engine)  # and so is an engine that is not there
        pipeline = load_pipeline(settings)
        format = settings.input_format
        for known in (settings.input, *pipeline.files):
            if settings.output.exists() and known.exists() and settings.output.samefile(known):
                raise UsageError(f"{settings.output} is what the batch is begun with ({known}): name another output")
        check_output(settings.output, overwrite=settings.overwrite)
        _check_options(settings, pipeline)
        folder.create()
        with folder.locked():
            folder.clear()
            spooled = str(settings.input) == "-"
            source = folder.spool if spooled else settings.input
            try:
                if spooled and sys.stdin is None:
                    raise UsageError("standard input is closed")
                if spooled:
                    _spool(sys.stdin.buffer, folder.spool)
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
                if folder.spool.exists() and isinstance(error, UsageError):
                    raise UsageError(f"{error}\nWhat came on standard input is in {folder.spool}") from error
                raise
            try:
                yield cls(folder, evolve(settings, format=format), journal, pipeline)
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
                        f"{folder.journal} has {counted(records, 'record')}, and the batch was begun with"
                        f" {manifest.records:,}: it is not the journal of this batch, or was cut"
                    )
                journal.settle()
                if changes:
                    folder.write_manifest(now)
                yield cls(folder, settings, journal, pipeline)
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
            fresh=settings.fresh,
            record=settings.record,
            replay=settings.replay,
            programs=settings.programs,
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
        if control.stopped is not None:
            self.journal.note_stop(control.stopped.why, control.stopped.message)
        return self.journal.totals(), control.stopped

    def limit(self, concurrency: int | None, budget: BatchBudget, *, keeps_going: bool) -> None:
        """Let it go on with other limits, where they are given; the others stay."""
        kept = self.settings
        tokens, cost = budget.tokens or kept.budget.tokens, budget.cost or kept.budget.cost
        self.settings = evolve(
            kept,
            concurrency=concurrency or kept.concurrency,
            budget=BatchBudget(tokens=tokens, cost=cost),
            keeps_going=keeps_going or kept.keeps_going,
        )
        self.folder.write_manifest(evolve(self.folder.read_manifest(), limits=self.settings.limits()))

    def control(self) -> BatchControl:
        """Return the control for one run of it."""
        settings = self.settings
        concurrency = AdaptiveConcurrency(settings.concurrency)
        return BatchControl(
            self.journal,
            concurrency,
            settings.budget,
            history_characters=self._history_characters,
            keeps_going=settings.keeps_going,
            waits=settings.replay is None,
        )

    def export(self) -> int:
        """Write what there is of results to its output, and return how many there are."""
        settings = self.settings
        return export(self.journal, settings.output, settings.output_format, timings=settings.timings)


_SECRET = re.compile(r"key|secret|token(?!s)|password|passwd|authorization|headers|cookie", re.IGNORECASE)
"""What may be a secret among the options of a component, by the name of its place."""


def _check_options(settings: BatchSettings, pipeline: Pipeline) -> None:
    """Raise UsageError for what is wrong with every record: a model or an input that the pipeline does not have."""
    for override in settings.overrides:
        path, _, value = override.partition("=")
        if _SECRET.search(path) and "${" not in value:
            raise UsageError(
                f"--set {path}=... would write a secret into the folder of the batch: set a variable and write "
                "${NAME} in its place"
            )
    recording_interceptor(settings.record, settings.replay)  # a folder that cannot be used is refused now
    if settings.model is not None:
        pipeline.models.get(settings.model)
    for name in settings.inputs:
        if name not in pipeline.inputs:
            known, hint = listed(sorted(pipeline.inputs)) or "none", did_you_mean(name, pipeline.inputs)
            raise UsageError(f"pipeline {pipeline.name!r} has no input {name!r}{hint}; declared: {known}")


def _manifest(settings: BatchSettings, pipeline: Pipeline, source: Path, format: str, records: int) -> BatchManifest:
    return BatchManifest(
        pipeline=str(settings.pipeline.absolute()),
        input=str(settings.input) if str(settings.input) == "-" else str(settings.input.absolute()),
        output=str(settings.output.absolute()),
        input_format=format,
        engine=settings.engine,
        settings=settings.deciding() | {"models": {each.name: each.info.id for each in pipeline.models.targets()}},
        limits=settings.limits(),
        files=digests(
            {"-" if str(settings.input) == "-" else str(source.absolute()): source}
            | {str(path.absolute()): path for path in pipeline.files}
        ),
        records=records,
        versions=installed_versions(),
    )


def _spool(stream: BinaryIO, path: Path) -> None:
    try:
        path.touch(mode=0o600)
        with path.open("wb") as file:
            shutil.copyfileobj(stream, file)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise UsageError(f"standard input cannot be kept in {path}: {error.strerror or error}") from error


def read_records(
    settings: BatchSettings, pipeline: Pipeline, source: Path, format: Format
) -> Iterator[tuple[int, BatchRecord, str | None]]:
    """Yield the records of an input with their lines and what is wrong with them.

    Raises UsageError that tells of the bad lines, where these refuse the batch.
    """
    chosen = _sample(source, format, settings.sample) if settings.sample is not None else None
    bad: dict[str, list[int]] = {}
    count = 0
    for number, row in enumerate(read_rows(source, format)):
        if settings.limit is not None and count >= settings.limit:
            break
        if chosen is not None and number not in chosen:
            continue
        line, record, problem = _checked(settings, pipeline, row)
        if problem is not None and settings.bad_lines == "refuse":
            bad.setdefault(problem, []).append(line)
            if len(bad) > _SHOWN:
                break
            continue
        count += 1
        yield line, record, problem
    if bad:
        told = [f"{_lines(lines)}: {problem}" for problem, lines in bad.items()]
        raise UsageError(
            f"{settings.input} has lines that are no records, so that nothing was run:\n  "
            + "\n  ".join(told[:_SHOWN])
            + ("\n  and more" if len(told) > _SHOWN else "")
            + "\nCorrect them, or say `--bad-lines fail` to have them as failed records in the output"
        )


def _lines(lines: list[int]) -> str:
    shown = listed([str(line) for line in lines[:_LINES_SHOWN]])
    more = len(lines) - _LINES_SHOWN
    return f"line{'s' * (len(lines) > 1)} {shown}" + (f" and {more:,} more" if more > 0 else "")


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
        return line, _bad_record(line, data), str(error)
    return line, record, None


def _bad_record(line: int, data: Mapping[str, Any] | UsageError) -> BatchRecord:
    """Return the record of a line that is none, with what of it can be told: its id and its conversation."""
    told = data if isinstance(data, Mapping) else {}
    id, conversation = told.get("id"), told.get("conversation")
    try:
        kept = parse_record({"query": "-", "id": id, "conversation": conversation})
    except UsageError:
        return BatchRecord(id=f"line-{line}", query="", has_own_id=False)
    if not kept.has_own_id:
        kept = evolve(kept, id=f"line-{line}")
    return evolve(kept, query="")


def _sample(source: Path, format: Format, size: int) -> frozenset[int]:
    """Return which records are chosen, by their number: reservoir sampling (Vitter 1985, algorithm R)."""
    chooser, chosen = Random(0), list[int]()
    for number, _ in enumerate(read_rows(source, format)):
        if number < size:
            chosen.append(number)
        elif (place := chooser.randrange(number + 1)) < size:
            chosen[place] = number
    return frozenset(chosen)
