"""Pipeline shipments: a pipeline by value, for machines that have none of its files.

Packs the pipeline's file, its templates and plugin files, and small data that its sources read. `${NAME}` stays as it
is written: each machine fills it in from its own environment, so that no secret is sent.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import attrs
from attrs import field, frozen

from nexus_core.batch.engines import BatchJob
from nexus_core.batch.record_runner import KnownPrices, prices_of
from nexus_core.contract.components import injected_fields
from nexus_core.contract.errors import NexusError, UsageError
from nexus_core.contract.hookspecs import ENTRY_POINT_GROUP
from nexus_core.contract.optional_protocols import ContextSource
from nexus_core.contract.protocols import Documents
from nexus_core.contract.values import Value
from nexus_core.engine.plan import Plan, load_plan
from nexus_core.engine.plugins import Origin, PluginRegistry
from nexus_core.engine.steps import Gather, MakeDraft, Rank

LARGEST = 64 * 2**20
"""Bytes of data that are sent with a pipeline at most."""
_CORE = "contextnexus"
_LIMITS = ("concurrency", "requests_per_minute", "tokens_per_minute")


@frozen(kw_only=True, eq=False)
class ShippedFile(Value):
    """One file of a shipment."""

    name: str
    """Its path in the shipment, with `/` between the parts."""
    data: bytes = field(repr=False)
    modified_ns: int


@frozen(kw_only=True, eq=False)
class PipelineShipment(Value):
    """A pipeline with all that it needs on another machine."""

    job: BatchJob
    pipeline: str
    """The name of its own file in the shipment."""
    files: tuple[ShippedFile, ...]
    distributions: Mapping[str, str]
    """The versions of the installed distributions that it uses, by name."""
    plugins: Mapping[str, tuple[str, ...]]
    """The plugins that each of them provides to the pipeline."""
    limits: Mapping[str, Mapping[str, int]]
    """The `limits` of its models, by the name of the model."""
    prices: Mapping[str, KnownPrices]
    """Of its models, as this machine knows them, so that all machines count the same money."""

    @property
    def digest(self) -> str:
        """The SHA-256 of names and contents."""
        whole = sha256()
        for file in self.files:
            whole.update(f"{file.name}\0{len(file.data)}\0{file.modified_ns}\0".encode())
            whole.update(file.data)
        return whole.hexdigest()

    def unpack(self, folder: Path) -> Path:
        """Write the files into an empty folder, and return the path of the pipeline's own."""
        for file in self.files:
            path = PurePosixPath(file.name)
            if path.is_absolute() or ".." in path.parts:
                raise NexusError(f"the shipment of a pipeline has a file that leads out of it: {file.name!r}")
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.data)
            os.utime(target, ns=(file.modified_ns, file.modified_ns))
        return folder / self.pipeline

    def overrides(self, shares: int) -> tuple[str, ...]:
        """Return the overrides of one machine of so many, which keep the pipeline's `limits` together.

        Each gets an equal share; there are at most `most_shares` of them.
        """
        return self.job.overrides + tuple(
            f"models.{model}.limits.{name}={limit // shares}"
            for model, limits in self.limits.items()
            for name, limit in limits.items()
        )

    def most_shares(self) -> int | None:
        """Return among how many machines the `limits` can be divided; `None` is any number."""
        return min((limit for limits in self.limits.values() for limit in limits.values()), default=None)


def pack_pipeline(job: BatchJob) -> PipelineShipment:
    """Return the shipment of a pipeline; raises UsageError that names the step where a machine alone has its data."""
    if job.record is not None or job.replay is not None:
        raise UsageError("recordings are files of this machine: use --record and --replay with `--engine local`")
    pipeline = job.pipeline.parent.resolve() / job.pipeline.name
    used: dict[str, EntryPoint] = {}
    plan = _load(pipeline, job, used)
    data = _Data()
    for place, part in _parts(plan):
        data.add(place, part, pipeline.parent)
    own = [Path(os.path.abspath(path)) for path in plan.files]
    paths = sorted({*own, *data.paths})
    root = Path(os.path.commonpath([path.parent for path in paths]))
    plugins: dict[str, tuple[str, ...]] = {_CORE: ()}
    for name, point in sorted(used.items()):
        if point.dist is not None:
            plugins[point.dist.name] = (*plugins.get(point.dist.name, ()), name)
    shipment = PipelineShipment(
        job=attrs.evolve(job, options={}),
        pipeline=pipeline.relative_to(root).as_posix(),
        files=tuple(_read(path, root) for path in paths),
        distributions={name: version(name) for name in plugins},
        plugins=plugins,
        limits=dict(_limits(plan)),
        prices=prices_of(plan.registry),
    )
    _rehearse(shipment, data)
    return shipment


def _load(path: Path, job: BatchJob, used: dict[str, EntryPoint]) -> Plan:
    """Return the plan of a pipeline, and note the plugins that it imports."""

    def origin(point: EntryPoint) -> Origin:
        def load() -> ModuleType:
            used[point.name] = point
            module: ModuleType = point.load()
            return module

        return Origin(name=point.name, target=point.value, installed=point.dist, load=load)

    registry = PluginRegistry(map(origin, entry_points(group=ENTRY_POINT_GROUP)))
    return load_plan(path, registry, os.environ, job.overrides)


def _parts(plan: Plan) -> Iterator[tuple[str, Any]]:
    """Yield every component of a pipeline with its place."""
    for planned in plan.all_steps():
        match planned.step:
            case Gather(source=part) | Rank(ranker=part) | MakeDraft(template=part):
                yield from _nested(f"{planned.path}.{planned.verb}", part)
    for registry in (plan.registry, *(called.registry for called in plan.called.plans.values())):
        for model in registry.list():
            yield from _nested(f"models.{model.name}", model.connector)
    for name, sink in plan.sinks:
        yield from _nested(f"the sink {name!r}", sink)


def _nested(place: str, part: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(part, tuple | list):
        for each in part:
            yield from _nested(place, each)
    elif attrs.has(type(part)):
        yield place, part
        for each in attrs.fields(type(part)):
            if each.init:
                yield from _nested(place, getattr(part, each.name))


class _Data:
    """The local files that components read."""

    def __init__(self) -> None:
        self.paths: dict[Path, str] = {}
        """With the places of the components."""
        self._bytes = 0

    def add(self, place: str, part: Any, folder: Path) -> None:
        """Add what a component reads; raises UsageError where it cannot be sent."""
        if isinstance(part, ContextSource):
            raise UsageError(
                f"{place} searches a store, which this machine alone has: run the batch with `--engine local`, or "
                "gather from files, which are sent along"
            )
        if "base_dir" not in injected_fields(type(part)):
            return
        folder = Path(part.base_dir) if part.base_dir else folder  # that of the pipeline that is called
        paths = _documents(part) if isinstance(part, Documents) else _named(part, folder)
        for path in paths:
            if path not in self.paths:
                self.paths[path] = place
                self._bytes += path.stat().st_size
            if self._bytes > LARGEST:
                raise UsageError(
                    f"{place} reads files of this machine that are larger than the {LARGEST // 2**20} MiB that are "
                    "sent to other machines: run the batch with `--engine local`, or gather fewer files"
                )


def _documents(source: Documents) -> Iterator[Path]:
    for mark in source.documents():
        if mark.place and not mark.problem and not mark.left_out:
            yield Path(os.path.abspath(mark.place))


def _named(part: Any, folder: Path) -> Iterator[Path]:
    """Yield the files that options of a component name, and those in folders that they name."""
    for each in attrs.fields(type(part)):
        text = getattr(part, each.name) if each.init else None
        if each.name != "base_dir" and isinstance(text, str) and text:
            path = Path(os.path.abspath(folder / os.path.expanduser(text)))
            yield from (file for file in _all_files(path) if file.is_file())


def _all_files(path: Path) -> Iterable[Path]:
    return path.rglob("*") if path.is_dir() else [path]


def _read(path: Path, root: Path) -> ShippedFile:
    try:
        with path.open("rb") as file:
            data, modified = file.read(), os.fstat(file.fileno()).st_mtime_ns
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    return ShippedFile(name=path.relative_to(root).as_posix(), data=data, modified_ns=modified)


def _limits(plan: Plan) -> Iterator[tuple[str, Mapping[str, int]]]:
    """Yield the limits that are divided among machines, by model; raises UsageError where some cannot be."""
    for called in plan.called.plans.values():
        for model in called.registry.list():
            if any(getattr(model.limits, name, None) is not None for name in _LIMITS):
                raise UsageError(
                    f"the limits of the model {model.name!r}, of a pipeline that is called, cannot be divided among "
                    "machines: run the batch with `--engine local`"
                )
    for model in plan.registry.list():
        limits = {name: limit for name in _LIMITS if (limit := getattr(model.limits, name, None)) is not None}
        if limits:
            yield model.name, limits


def _rehearse(shipment: PipelineShipment, data: _Data) -> None:
    """Unpack a shipment, and raise UsageError where its sources find other files than here, as by an absolute path."""
    if not data.paths:
        return
    with TemporaryDirectory(prefix="nexus-shipment-") as name:
        folder = Path(name).resolve()
        path = shipment.unpack(folder)
        there = _Data()
        for place, part in _parts(_load(path, shipment.job, {})):
            there.add(place, part, path.parent)
            outside = next((each for each in there.paths if not each.is_relative_to(folder)), None)
            if outside is not None:
                raise UsageError(
                    f"{place} reads {outside}, which other machines do not have: name it relative to the pipeline's "
                    "folder, so that it is sent along, or run the batch with `--engine local`"
                )
        lost = set(data.paths.values()) if len(there.paths) != len(data.paths) else ()
        for place in sorted(lost):
            raise UsageError(
                f"{place} reads files of this machine that it would not find on others: run the batch with "
                "`--engine local`"
            )
