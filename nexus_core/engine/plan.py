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
    BranchSpec,
    CallPipelineSpec,
    ChooseSpec,
    ComponentSpec,
    GatherSpec,
    GenerateSpec,
    InputSpec,
    ModelReference,
    ModelSpec,
    PipelineReference,
    PipelineSpec,
    PromptSpec,
    RankSpec,
    RecordSpec,
    StepSpec,
    TemplateFile,
    TemplateText,
    TogetherSpec,
    walk_steps,
)
from nexus_core.config.steps.called_pipelines import CheckedPipeline
from nexus_core.config.yaml.problems import SourceLocation
from nexus_core.contract.components import Kind, injected_fields
from nexus_core.contract.errors import ConfigError, PluginError, Problem, TemplateError, UsageError, describe_error
from nexus_core.contract.models import ModelInfo
from nexus_core.contract.optional_protocols import CheckedComponent
from nexus_core.contract.protocols import AnswerCache, Connector, Template
from nexus_core.contract.run_context import CallablePipeline
from nexus_core.engine.calls.answer_reuse import declaration
from nexus_core.engine.calls.caller import Caller
from nexus_core.engine.calls.deadline import UNPAUSED, Clock
from nexus_core.engine.component_models import component_model
from nexus_core.engine.composition.called_pipelines import CalledPlan, CalledPlans, CallPipeline, callable_pipeline
from nexus_core.engine.composition.planned_steps import Branch, Choose, PlannedStep
from nexus_core.engine.composition.together import Together
from nexus_core.engine.composition.traversal import (
    Change,
    StepSearch,
    change_steps,
    finds,
    inner_steps,
    last_generates,
)
from nexus_core.engine.expansion.expander import Expander
from nexus_core.engine.interceptors import Interceptor, intercepted
from nexus_core.engine.lifecycle import ComponentLifecycle
from nexus_core.engine.models import Model, ModelRegistry, price_lookup
from nexus_core.engine.packing.packer import PackingPolicy
from nexus_core.engine.plugin_guard import PluginGuard, is_own
from nexus_core.engine.query_rewriting import QueryRewriter
from nexus_core.engine.sinks import Fanout, SinkQueue, sinks_of_environment
from nexus_core.engine.steps import Gather, Generate, MakeDraft, Merger, Rank, Step
from nexus_core.engine.tools.toolbox import NamedTool, Toolbox
from nexus_core.toolkit.filters import FilteredItems
from nexus_core.toolkit.templates.template import Expression, TextTemplate

_log = logging.getLogger(__name__)

_BUILD_FAILED = "P001"
_VERBS = {
    GatherSpec: "gather",
    RankSpec: "rank",
    PromptSpec: "prompt",
    GenerateSpec: "generate",
    ChooseSpec: "choose",
    TogetherSpec: "together",
    CallPipelineSpec: "call",
}


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

    async def open_sinks(self) -> Fanout:
        """Open the sinks and start their queues."""
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
    return _Builder(
        spec=checked.spec,
        folder=Path(checked.spec.path or "").parent,
        catalogue=checked.catalogue,
        called=checked.called,
        resources=ComponentLifecycle() if resources is None else resources,
        interceptor=interceptor,
        clock=clock,
        random=random,
        answers=answers,
    ).plan()


@frozen(kw_only=True, eq=False, repr=False)
class _Builder:
    """Builds the components of one pipeline and collects what goes wrong."""

    spec: PipelineSpec
    folder: Path
    catalogue: PluginCatalog
    called: Mapping[str, CheckedPipeline]
    resources: ComponentLifecycle
    interceptor: Interceptor | None
    prefix: str = ""
    """Of the names of its models: `NAME/`, for a pipeline that is called."""
    answers: AnswerCache | None = None
    clock: Clock | None = None
    random: Random | None = None
    problems: list[Problem] = field(factory=list)

    def plan(self) -> Plan:
        """Return the plan, or raise ConfigError with everything that could not be built."""
        builders = {
            path: evolve(self, **_of_called(checked.spec, checked.catalogue))
            for path, checked in self.called.items()
            if checked.spec is not None
        }
        called = {path: plan for path, builder in builders.items() if (plan := builder.called_plan()) is not None}
        give = self._giver()
        if give is None:
            raise ConfigError(self.problems)
        steps = self._steps(give, last_generates(self.spec.steps))
        following = self._following(give) if self.spec.rewrite else None
        sinks = tuple((sink.use, self._component(Kind.SINK, sink)) for sink in self.spec.sinks)
        if self.problems:
            raise ConfigError(self.problems)
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
            resources=self.resources,
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

    def _giver(self) -> _Giver | None:
        models = [model for model in map(self._model, self.spec.models) if model is not None]
        if len(models) < len(self.spec.models):  # a registry with gaps would only report them again
            self._build_without_models()
            return None
        registry = ModelRegistry(models, self.spec.default_model)
        attempts = Caller(
            registry,
            self.resources,
            calls=self.spec.calls,
            clock=self.clock,
            random=self.random,
            answers=self.answers,
        )
        self._warn_of_continue(registry)
        return _Giver(registry, attempts, self.resources)

    def _steps(self, give: _Giver, last: Collection[str]) -> tuple[PlannedStep, ...]:
        steps: tuple[PlannedStep, ...] = ()
        for step in self.spec.steps:
            steps += (self._planned(step, give, last, steps),)
        return steps

    def _build_without_models(self) -> None:
        """Build what needs no model, for its problems: all are told at once."""
        for step in walk_steps(self.spec.steps):
            if isinstance(step, GatherSpec):
                self._component(Kind.SOURCE, step.source)
        for sink in self.spec.sinks:
            self._component(Kind.SINK, sink)

    def _following(self, give: _Giver) -> QueryRewriter | None:
        place = SourceLocation(self.spec.path or "")
        template = self._component(Kind.TEMPLATE, ComponentSpec(kind=Kind.TEMPLATE, use="rewrite", place=place))
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
        connector = self._component(Kind.CONNECTOR, spec.component)
        if connector is None:
            return None
        figures = {
            name: value
            for name in ("window", "max_input", "max_output", "encoding", "prices")
            if (value := getattr(spec, name)) is not None
        }
        info = self._info(spec.component, connector, figures)
        if info is None:
            return None
        # Who stands between (a test, a batch) and brings no place for answers wants to see each request: no warning.
        cache = spec.cache if self.answers is not None or self.interceptor is None else None
        return Model(
            name=f"{self.prefix}{spec.name}",
            connector=self._attend(f"{self.prefix}{spec.name}", connector),
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

    def _attend(self, name: str, connector: Connector) -> Connector:
        return connector if self.interceptor is None else intercepted(name, connector, self.interceptor)

    def _info(self, spec: ComponentSpec, connector: Connector, figures: Mapping[str, Any]) -> ModelInfo | None:
        """Return what a connector tells of its model, with the pipeline's figures over it."""
        try:
            info: Any = connector.model_info
        except BaseException as error:  # foreign code, as above
            if not is_own(error):
                raise
            told = f"failed at its model_info: {describe_error(error)}"
        else:
            if isinstance(info, ModelInfo):
                return evolve(info, **figures)
            told = f"has a {type(info).__name__} for its model_info, and no ModelInfo"
        self._failed(spec.place, f"connector {spec.use!r} {told}")
        return None

    def _planned(
        self, spec: StepSpec, give: _Giver, last: Collection[str], before: tuple[PlannedStep, ...]
    ) -> PlannedStep:
        verb = _VERBS[type(spec)]
        place = f"{self.prefix}{spec.path}.{verb}"
        when = Expression.parse(spec.when) if spec.when is not None else None
        step: Step | Choose
        match spec:
            case ChooseSpec():
                step = Choose(tuple(self._branch(branch, give, last, before) for branch in spec.branches))
            case TogetherSpec():
                step = Together(tuple(self._planned(part, give, last, before) for part in spec.parts))
            case CallPipelineSpec():
                step = CallPipeline(
                    pipeline=self._callable(spec.pipeline),
                    index=spec.index,
                    path=spec.path,
                    query=None if spec.query is None else Expression.parse(spec.query),
                    inputs=_parsed(spec.inputs),
                    take=spec.take,
                    keep_as=spec.as_name,
                )
            case GatherSpec():
                source = self._component(Kind.SOURCE, spec.source, place, give)
                step = Gather(
                    name=spec.source.use,
                    source=source,
                    resources=self.resources,
                    keep_as=spec.as_name,
                    filtered=FilteredItems(spec.where) if spec.where else None,
                    expander=self._expander(spec, give),
                )
            case RankSpec():
                ranker = self._component(Kind.RANKER, spec.ranker, place, give)
                step = Rank(name=spec.ranker.use, ranker=ranker, resources=self.resources, keep_as=spec.as_name)
            case PromptSpec():
                named = spec.template.use if isinstance(spec.template, ComponentSpec) else ""
                step = MakeDraft(
                    template=self._template(spec),
                    name=named,
                    policy=_policy(spec),
                    variables=_parsed(spec.variables),
                )
            case GenerateSpec():
                step = Generate(
                    attempts=give.attempts,
                    registry=give.registry,
                    model=spec.model,
                    options=spec.options,
                    into_query=spec.into_query,
                    client_tools=spec.client_tools,
                    keep_as=spec.as_name,
                    last=spec.path in last,
                    toolbox=self._toolbox(spec, place, give),
                    search=None if spec.tools is None else StepSearch.of(before),
                    index=spec.index,
                    path=spec.path,
                )
        return PlannedStep(index=spec.index, path=spec.path, verb=verb, step=step, when=when, timeout_s=spec.timeout_s)

    def _branch(self, spec: BranchSpec, give: _Giver, last: Collection[str], before: tuple[PlannedStep, ...]) -> Branch:
        steps: tuple[PlannedStep, ...] = ()
        for step in spec.steps:
            steps += (self._planned(step, give, last, (*before, *steps)),)
        return Branch(when=None if spec.when is None else Expression.parse(spec.when), steps=steps)

    def _callable(self, reference: PipelineReference) -> CallablePipeline:
        spec = self.called[reference.path].spec
        assert spec is not None, "a pipeline with problems is not built"
        return callable_pipeline(reference.path, spec.name, spec.description, spec.inputs)

    def _toolbox(self, spec: GenerateSpec, place: str, give: _Giver) -> Toolbox | None:
        told = spec.tools
        if told is None:
            return None
        self._check_takes_tools(spec, give.registry)
        return Toolbox(
            tools=[
                NamedTool(use=part.use, tool=self._component(Kind.TOOL, part, f"{place}.tools[{index}]", give))
                for index, part in enumerate(told.components)
            ],
            resources=self.resources,
            allow=frozenset(told.allow),
            rounds=told.rounds,
            calls=told.calls,
            timeout_s=told.timeout_s,
            share=told.share,
        )

    def _check_takes_tools(self, spec: GenerateSpec, registry: ModelRegistry) -> None:
        """Note each model of the step's chain that takes no tools: only the connectors know it."""
        for model in registry.chain(spec.model):
            if "tools" not in model.info.capabilities:
                what = "model" if model.name == registry.get(spec.model).name else "fallback"
                self._failed(
                    spec.place,
                    f"{spec.path} (generate) has tools, and its {what} {model.name!r} takes none: leave it out,"
                    " or name one with the capability `tools` (`nexus models --json` shows capabilities)",
                )

    def _expander(self, spec: GatherSpec, give: _Giver) -> Expander | None:
        if spec.expand is None:
            return None
        expander = Expander(
            step=spec.index, path=spec.path, spec=spec.expand, attempts=give.attempts, registry=give.registry
        )
        if expander.asks_model and not expander.models:  # only the connectors know it, so that lint cannot
            _log.warning(
                "pipeline %s: `expand` of %s (gather) has no effect: the model %s writes no text of its own",
                self.spec.name,
                spec.path,
                give.registry.get(spec.expand.model).name,
            )
        return expander

    def _template(self, spec: PromptSpec) -> Template:
        match spec.template:
            case TemplateText(text=text):
                return TextTemplate.parse(text, f"{spec.path}.prompt.template")
            case TemplateFile(path=path, text=text):
                return TextTemplate.parse(text, path)
            case ComponentSpec() as component:
                template: Template = self._component(Kind.TEMPLATE, component)
                return template

    def _component(self, kind: Kind, spec: ComponentSpec, place: str = "", give: _Giver | None = None) -> Any:
        """Build a component, the nested ones first; a failure is noted as a problem at its place.

        With `give`, connectors among its options are attended by the engine.
        """
        try:
            cls = self.catalogue.component(kind, spec.use)
            options = {name: self._value(value, f"{place}.{name}", give) for name, value in spec.options.items()}
            built = cls(**options)
            self._inject(cls, built)
            if isinstance(built, CheckedComponent):
                built.check_built()
        except PluginError as error:
            return self._failed(spec.place, str(error))
        except (TypeError, ValueError, TemplateError) as error:
            return self._failed(spec.place, f"{kind.word} {spec.use!r} cannot be built: {error}")
        except BaseException as error:  # foreign code; its failure is a problem of this file
            if not is_own(error):
                raise
            return self._failed(spec.place, f"{kind.word} {spec.use!r} failed: {describe_error(error)}")
        return built

    def _inject(self, cls: type, built: Any) -> None:
        """Fill in the fields that a component declares as injected; a sink gets its pipeline later."""
        declared = injected_fields(cls)
        if "base_dir" in declared:
            built.base_dir = str(self.folder)
        if "shared" in declared:
            built.shared = self.resources.shared

    def _connector(self, spec: ComponentSpec, place: str, give: _Giver | None) -> Any:
        """Build a connector that is an option. One inside a connector is a part of what that one does in an attempt."""
        built = self._component(Kind.CONNECTOR, spec)
        if give is None or built is None:
            return built
        return None if self._info(spec, built, {}) is None else give.connector(place, self._attend(place, built))

    def _failed(self, place: SourceLocation, message: str) -> None:
        self.problems.append(Problem(_BUILD_FAILED, message, place.file, place.line, place.column))

    def _value(self, value: Any, place: str, give: _Giver | None) -> Any:
        match value:
            case ComponentSpec(kind=Kind.CONNECTOR):
                return self._connector(value, place, give)
            case ComponentSpec():
                return self._component(value.kind, value, place, give)
            case PipelineReference():
                return self._callable(value)
            case ModelReference(name=name):
                return None if give is None else give.model(name)
            case RecordSpec(cls=cls, fields=fields):
                return cls(**{name: self._value(part, f"{place}.{name}", give) for name, part in fields.items()})
            case tuple():
                return tuple(self._value(part, f"{place}[{index}]", give) for index, part in enumerate(value))
            case dict():
                return {key: self._value(part, f"{place}.{key}", give) for key, part in value.items()}
        return value


@frozen(eq=False, repr=False)
class _Giver:
    """Hands out connectors to components, attended by the engine."""

    registry: ModelRegistry
    attempts: Caller
    resources: ComponentLifecycle

    def connector(self, place: str, connector: Connector) -> Connector:
        """Return what is given in place of a connector; it has the policies that a model has by default."""
        info = connector.model_info
        model = Model(name=place, connector=connector, info=info, lookup=price_lookup(connector, info))
        self.registry.add_given(model)
        return component_model((model,), self.attempts, self.resources)

    def model(self, name: str) -> Connector:
        """Return what is given for a model of the pipeline, with all its policies."""
        return component_model(self.registry.chain(name), self.attempts, self.resources)


def _policies(spec: ModelSpec) -> Mapping[str, Any]:
    """Return what a model says of attempts; what it does not say is as `Model` has it, and `false` is none."""
    said = {"retry": spec.retry, "breaker": spec.breaker, "limits": spec.limits}
    return {name: policy or None for name, policy in said.items() if policy is not None}


def _policy(spec: PromptSpec) -> PackingPolicy:
    return PackingPolicy(
        budget=spec.budget,
        pin=spec.pin,
        quota=spec.quota,
        unit=spec.unit,
        overflow=spec.overflow,
        order=spec.order,
        passage_tokens=spec.passage_tokens,
        near_duplicates=spec.near_duplicates,
        history_share=spec.history_share,
    )


def _of_called(spec: PipelineSpec, catalogue: PluginCatalog) -> dict[str, Any]:
    """Return how the builder of a pipeline that is called differs from that of the calling one."""
    folder = Path(spec.path or "").parent
    return {"spec": spec, "folder": folder, "catalogue": catalogue, "prefix": f"{spec.name}/"}


def _parsed(variables: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return declared variables with their `{{ }}` parsed."""
    return {
        name: Expression.parse(value) if isinstance(value, str) and "{{" in value else value
        for name, value in variables.items()
    }
