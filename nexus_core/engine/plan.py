"""From a checked specification to something that runs; what only building can find is found here, all at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from attrs import evolve, field, frozen

from nexus_core.config.check import Checked, check
from nexus_core.config.components import PluginCatalog
from nexus_core.config.policies import CallPolicy
from nexus_core.config.spec import (
    ComponentSpec,
    GatherSpec,
    GenerateSpec,
    InputSpec,
    ModelSpec,
    PipelineSpec,
    PromptSpec,
    TemplateFile,
    walk_steps,
)
from nexus_core.config.yaml.problems import SourceLocation
from nexus_core.contract.components import Kind
from nexus_core.contract.errors import ConfigError, NexusError, PluginError, UsageError
from nexus_core.contract.protocols import AnswerCache
from nexus_core.engine.building.component_builder import ComponentBuilder, ModelGiver
from nexus_core.engine.building.step_builder import StepBuilder
from nexus_core.engine.calls.answer_reuse import declaration
from nexus_core.engine.calls.caller import Caller
from nexus_core.engine.calls.deadline import UNPAUSED, Clock
from nexus_core.engine.composition.called_pipelines import CalledPlan, CalledPlans
from nexus_core.engine.composition.planned_steps import PlannedStep
from nexus_core.engine.composition.traversal import (
    Change,
    change_steps,
    finds,
    inner_steps,
    last_generates,
)
from nexus_core.engine.interceptors import Interceptor
from nexus_core.engine.lifecycle import ComponentLifecycle
from nexus_core.engine.models import Model, ModelRegistry, price_lookup
from nexus_core.engine.plugin_guard import PluginGuard, watch_task
from nexus_core.engine.query_rewriting import QueryRewriter
from nexus_core.engine.sinks import Fanout, SinkQueue, sinks_of_environment
from nexus_core.engine.steps import Gather, Merger, Rank
from nexus_core.toolkit.tokens.counter import token_counter

_log = logging.getLogger(__name__)


@frozen(kw_only=True, eq=False, repr=False)
class Plan:
    """A pipeline with its parts built, none of them opened yet."""

    name: str
    files: tuple[Path, ...]
    """What it was read from: the pipeline's own file first, then its plugins, templates and JSON Schemas."""
    description: str
    content: bool
    inputs: tuple[InputSpec, ...]
    steps: tuple[PlannedStep, ...]
    registry: ModelRegistry
    attempts: Caller
    sinks: tuple[tuple[str, Any], ...]
    following: QueryRewriter | None
    """Finds what is searched for where a question follows others; `None` searches for the question as it is."""
    resources: ComponentLifecycle
    merger: Merger = field(factory=Merger)
    """For the items that a caller brings along."""
    called: CalledPlans = field(factory=CalledPlans)
    """The other pipelines that it calls, and those that they call."""

    @property
    def calling(self) -> CalledPlans | None:
        """What runs the other pipelines, `None` where there is none."""
        return self.called if self.called.plans else None

    def all_steps(self) -> Iterator[PlannedStep]:
        """Yield its steps, those within others, and those of the pipelines that it calls."""
        yield from inner_steps(self.steps)
        for called in self.called.plans.values():
            yield from inner_steps(called.steps)

    def with_steps(self, change: Change) -> Plan:
        """Return the plan with each of all its steps as `change` returns it."""
        called = {
            path: evolve(each, steps=change_steps(each.steps, change)) for path, each in self.called.plans.items()
        }
        return evolve(self, steps=change_steps(self.steps, change), called=CalledPlans(called))

    async def open_components(self) -> list[NexusError]:
        """Open connectors, sources and rankers, and load the encodings; return why some could not be opened."""
        watch_task()
        problems = []
        registries = [self.registry, *(called.registry for called in self.called.plans.values())]
        models = [model for registry in registries for model in registry.list()]
        steps = [planned.step for planned in self.all_steps()]
        parts: list[Any] = [model.connector for model in models]
        parts += [step.source for step in steps if isinstance(step, Gather)]
        parts += [step.ranker for step in steps if isinstance(step, Rank)]
        for part in parts:
            try:
                with PluginGuard(type(part).__name__, PluginError):
                    await self.resources.open(part)
            except NexusError as error:
                problems.append(error)
        for encoding in {model.info.encoding for model in models}:
            await asyncio.to_thread(token_counter(encoding).count, "What is counted first loads the encoding.")
        return problems

    async def open_sinks(self) -> Fanout:
        """Open the sinks and start their queues."""
        watch_task()
        for name, sink in self.sinks:
            with PluginGuard(f"sink {name!r}", PluginError):
                await self.resources.open(sink)
        queues = []
        for name, sink in self.sinks:
            with PluginGuard(f"sink {name!r}", PluginError):
                queues.append(SinkQueue(name, sink, content=self.content))
        return Fanout(queues)

    async def close(self, fanout: Fanout) -> None:
        """Let the sinks take what is queued, then close every component that was opened."""
        try:
            await asyncio.to_thread(fanout.close)
        finally:
            await self.resources.close()


def load_plan(
    path: Path,
    catalogue: PluginCatalog,
    environment: Mapping[str, str],
    overrides: Sequence[str] = (),
    resources: ComponentLifecycle | None = None,
    interceptor: Interceptor | None = None,
    answers: AnswerCache | None = None,
) -> Plan:
    """Read, check and build a pipeline file; raises ConfigError with every problem found."""
    try:
        source = path.read_bytes()
    except OSError as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else (error.strerror or str(error))
        raise UsageError(f"cannot read the pipeline {path}: {reason}") from error
    checked = check(source, str(path), catalogue, environment, overrides)
    plan = build_plan(checked, resources, interceptor, answers=answers)
    added = sinks_of_environment(environment, [name for name, _ in plan.sinks], checked.catalogue, plan.resources)
    return evolve(plan, sinks=(*plan.sinks, *added)) if added else plan


def build_plan(
    checked: Checked,
    resources: ComponentLifecycle | None = None,
    interceptor: Interceptor | None = None,
    clock: Clock | None = None,
    random: Random | None = None,
    answers: AnswerCache | None = None,
) -> Plan:
    """Build what was checked, as often as it is wanted; raises ConfigError with every problem found.

    With `interceptor`, the requests of every connector go through it; `answers` keeps those of models with a `cache`.
    With `clock`, calls tell the time by it and wait with it; with `random`, how long they wait is drawn from it.
    """
    if checked.spec is None:
        raise ConfigError(checked.problems)
    if clock is None and interceptor is not None and not interceptor.sends:
        clock = UNPAUSED
    components = ComponentBuilder(
        folder=Path(checked.spec.path or "").parent,
        catalogue=checked.catalogue,
        called=checked.called,
        resources=ComponentLifecycle() if resources is None else resources,
        interceptor=interceptor,
    )
    return _Builder(
        spec=checked.spec,
        components=components,
        clock=clock,
        random=random,
        answers=answers,
    ).plan()


@frozen(kw_only=True, eq=False, repr=False)
class _Builder:
    """Builds the components of one pipeline and collects what goes wrong."""

    spec: PipelineSpec
    components: ComponentBuilder
    prefix: str = ""
    """Of the names of its models: `NAME/`, for a pipeline that is called."""
    answers: AnswerCache | None = None
    clock: Clock | None = None
    random: Random | None = None

    def plan(self) -> Plan:
        """Return the plan, or raise ConfigError with everything that could not be built."""
        builders = {
            path: self._of_called(checked.spec, checked.catalogue)
            for path, checked in self.components.called.items()
            if checked.spec is not None
        }
        called = {path: plan for path, builder in builders.items() if (plan := builder.called_plan()) is not None}
        give = self._giver()
        if give is None:
            raise ConfigError(self.components.problems)
        steps = self._steps(give, last_generates(self.spec.steps))
        following = self._following(give) if self.spec.rewrite else None
        sinks = tuple((sink.use, self.components.build(Kind.SINK, sink)) for sink in self.spec.sinks)
        if self.components.problems:
            raise ConfigError(self.components.problems)
        return Plan(
            name=self.spec.name,
            files=(*self._files(), *(file for each in called.values() for file in each.files)),
            description=self.spec.description,
            content=self.spec.content,
            inputs=self.spec.inputs,
            steps=steps,
            registry=give.registry,
            attempts=give.attempts,
            sinks=sinks,
            following=following,
            resources=self.components.resources,
            called=CalledPlans(called),
        )

    def called_plan(self) -> CalledPlan | None:
        """Return the plan of a pipeline that another one calls, `None` after noting why it has no models."""
        give = self._giver()
        if give is None:
            return None
        steps = self._steps(give, frozenset())
        return CalledPlan(
            name=self.spec.name,
            inputs=self.spec.inputs,
            files=tuple(self._files()),
            steps=steps,
            finding=max((place for place, planned in enumerate(steps, 1) if finds(planned)), default=0),
            registry=give.registry,
            attempts=give.attempts,
        )

    def _of_called(self, spec: PipelineSpec, catalogue: PluginCatalog) -> _Builder:
        """Return the builder of a pipeline that is called, which notes problems where this one does."""
        components = evolve(self.components, folder=Path(spec.path or "").parent, catalogue=catalogue)
        return evolve(self, spec=spec, components=components, prefix=f"{spec.name}/")

    def _giver(self) -> ModelGiver | None:
        models = [model for model in map(self._model, self.spec.models) if model is not None]
        if len(models) < len(self.spec.models):  # a registry with gaps would only report them again
            self._build_without_models()
            return None
        registry = ModelRegistry(models, self.spec.default_model)
        attempts = Caller(
            registry,
            self.components.resources,
            calls=self.spec.calls,
            clock=self.clock,
            random=self.random,
            answers=self.answers,
        )
        self._warn_of_continue(registry)
        self._check_prices(registry)
        return ModelGiver(registry, attempts, self.components.resources)

    def _check_prices(self, registry: ModelRegistry) -> None:
        """Note each model whose price is unknown where the money of a run is bounded."""
        if self.spec.calls is None or self.spec.calls.cost is None:
            return
        places = {f"{self.prefix}{model.name}": model.place for model in self.spec.models}
        for model in registry.targets():
            if model.prices is None and "offline" not in model.info.capabilities:
                self.components.note_problem(
                    places[model.name],
                    f"the price of the model {model.name!r} ({model.info.id}) is unknown, so that `calls.cost` cannot "
                    "be kept: say `prices: {input: ..., output: ...}` on it, in US dollars per million tokens, or "
                    "install contextnexus[prices]",
                )

    def _steps(self, give: ModelGiver, last: Collection[str]) -> tuple[PlannedStep, ...]:
        builder = StepBuilder(
            pipeline=self.spec.name, components=self.components, give=give, last=last, prefix=self.prefix
        )
        return builder.build(self.spec.steps)

    def _build_without_models(self) -> None:
        """Build what needs no model, for its problems: all are told at once."""
        for step in walk_steps(self.spec.steps):
            if isinstance(step, GatherSpec):
                self.components.build(Kind.SOURCE, step.source)
        for sink in self.spec.sinks:
            self.components.build(Kind.SINK, sink)

    def _following(self, give: ModelGiver) -> QueryRewriter | None:
        place = SourceLocation(self.spec.path or "")
        template = self.components.build(Kind.TEMPLATE, ComponentSpec(kind=Kind.TEMPLATE, use="rewrite", place=place))
        generating = [step for step in walk_steps(self.spec.steps) if isinstance(step, GenerateSpec)]
        calls = self.spec.calls or CallPolicy()
        return template and QueryRewriter(
            attempts=give.attempts,
            registry=give.registry,
            template=template,
            model=generating[-1].model if generating else None,
            deadline_s=min(calls.deadline_s, calls.stream_deadline_s),
        )

    def _files(self) -> Iterator[Path]:
        if self.spec.path is not None:
            yield Path(self.spec.path)
        yield from map(Path, self.spec.plugin_files)
        for step in walk_steps(self.spec.steps):
            if isinstance(step, PromptSpec) and isinstance(step.template, TemplateFile):
                yield Path(step.template.path)
            if isinstance(step, GenerateSpec) and step.schema_file is not None:
                yield Path(step.schema_file)

    def _warn_of_continue(self, registry: ModelRegistry) -> None:
        """Say that a policy can have no effect; only the connectors know it, so that lint cannot."""
        if self.spec.calls is None or self.spec.calls.on_stream_failure != "continue":
            return
        after = {later for model in registry.list() for later in registry.chain(model.name)[1:]}
        if not any("continue" in model.info.capabilities for model in after):
            _log.warning(
                "pipeline %s: `on_stream_failure: continue` has no effect, a stream that breaks off fails: no model "
                "below a `fallback` has the capability `continue` (`nexus models --json` shows them, and some "
                "connectors have an option that declares it)",
                self.spec.name,
            )

    def _model(self, spec: ModelSpec) -> Model | None:
        connector = self.components.build(Kind.CONNECTOR, spec.component)
        if connector is None:
            return None
        figures = {
            name: value
            for name in ("window", "max_input", "max_output", "encoding", "prices")
            if (value := getattr(spec, name)) is not None
        }
        info = self.components.model_info(spec.component, connector, figures)
        if info is None:
            return None
        # Who stands between (a test, a batch) and brings no place for answers wants to see each request: no warning.
        cache = spec.cache if self.answers is not None or self.components.interceptor is None else None
        return Model(
            name=f"{self.prefix}{spec.name}",
            connector=self.components.attend(f"{self.prefix}{spec.name}", connector),
            info=info,
            options=spec.options,
            fallback=spec.fallback,
            aliases=(spec.name, *spec.aliases) if self.prefix else spec.aliases,
            allow_empty=spec.allow_empty,
            lookup=price_lookup(connector, info),
            cache=cache,
            declaration="" if cache is None else declaration(spec.component),
            **_policies(spec),
        )


def _policies(spec: ModelSpec) -> Mapping[str, Any]:
    """Return what a model says of attempts; what it does not say is as `Model` has it, and `false` is none."""
    said = {"retry": spec.retry, "breaker": spec.breaker, "limits": spec.limits}
    return {name: policy or None for name, policy in said.items() if policy is not None}
