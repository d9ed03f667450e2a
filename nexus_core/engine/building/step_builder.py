"""Step builder: the steps of a checked file, those within others first."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen

from nexus_core.config.spec import (
    BranchSpec,
    CallPipelineSpec,
    ChooseSpec,
    ComponentSpec,
    GatherSpec,
    GenerateSpec,
    PromptSpec,
    RankSpec,
    StepSpec,
    TemplateFile,
    TemplateText,
    TogetherSpec,
)
from nexus_core.contract.components import Kind
from nexus_core.contract.protocols import Template
from nexus_core.engine.building.component_builder import ComponentBuilder, ModelGiver
from nexus_core.engine.composition.called_pipelines import CallPipeline
from nexus_core.engine.composition.planned_steps import Branch, Choose, PlannedStep
from nexus_core.engine.composition.together import Together
from nexus_core.engine.composition.traversal import StepSearch
from nexus_core.engine.packing.packer import PackingPolicy
from nexus_core.engine.steps import Gather, Generate, MakeDraft, Rank, Step
from nexus_core.toolkit.filters import FilteredItems
from nexus_core.toolkit.lazy_module import LazyModule
from nexus_core.toolkit.templates.template import Expression, TextTemplate

if TYPE_CHECKING:
    from nexus_core.engine.expansion import expander
    from nexus_core.engine.tools import toolbox
else:  # for steps that search for more than the question, and for those with tools
    expander = LazyModule("nexus_core.engine.expansion.expander")
    toolbox = LazyModule("nexus_core.engine.tools.toolbox")

_VERBS = {
    GatherSpec: "gather",
    RankSpec: "rank",
    PromptSpec: "prompt",
    GenerateSpec: "generate",
    ChooseSpec: "choose",
    TogetherSpec: "together",
    CallPipelineSpec: "call",
}

_log = logging.getLogger(__name__)


@frozen(kw_only=True, eq=False, repr=False)
class StepBuilder:
    """Builds the steps of one pipeline; what fails is noted by the builder of its components."""

    pipeline: str
    """Its name."""
    components: ComponentBuilder
    give: ModelGiver
    last: Collection[str]
    """The paths of the generate steps that give the answer."""
    prefix: str = ""
    """Of the names of its models."""

    def build(self, specs: Sequence[StepSpec], before: tuple[PlannedStep, ...] = ()) -> tuple[PlannedStep, ...]:
        """Return the steps of a list; `before` are those that come before it."""
        steps: tuple[PlannedStep, ...] = ()
        for spec in specs:
            steps += (self._planned(spec, (*before, *steps)),)
        return steps

    def _planned(self, spec: StepSpec, before: tuple[PlannedStep, ...]) -> PlannedStep:
        verb = _VERBS[type(spec)]
        place = f"{self.prefix}{spec.path}.{verb}"
        when = Expression.parse(spec.when) if spec.when is not None else None
        step: Step | Choose
        match spec:
            case ChooseSpec():
                step = Choose(tuple(self._branch(branch, before) for branch in spec.branches))
            case TogetherSpec():
                step = Together(tuple(self._planned(part, before) for part in spec.parts))
            case CallPipelineSpec():
                step = CallPipeline(
                    pipeline=self.components.callable_pipeline(spec.pipeline),
                    index=spec.index,
                    path=spec.path,
                    query=None if spec.query is None else Expression.parse(spec.query),
                    inputs=_parsed(spec.inputs),
                    take=spec.take,
                    keep_as=spec.as_name,
                )
            case GatherSpec():
                source = self.components.build(Kind.SOURCE, spec.source, place, self.give)
                step = Gather(
                    name=spec.source.use,
                    source=source,
                    resources=self.components.resources,
                    keep_as=spec.as_name,
                    filtered=FilteredItems(spec.where) if spec.where else None,
                    expander=self._expander(spec),
                )
            case RankSpec():
                ranker = self.components.build(Kind.RANKER, spec.ranker, place, self.give)
                step = Rank(
                    name=spec.ranker.use, ranker=ranker, resources=self.components.resources, keep_as=spec.as_name
                )
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
                    attempts=self.give.attempts,
                    registry=self.give.registry,
                    model=spec.model,
                    options=spec.options,
                    into_query=spec.into_query,
                    client_tools=spec.client_tools,
                    keep_as=spec.as_name,
                    last=spec.path in self.last,
                    toolbox=self._toolbox(spec, place),
                    search=None if spec.tools is None else StepSearch.of(before),
                    index=spec.index,
                    path=spec.path,
                    pipeline=self.pipeline,
                )
        return PlannedStep(index=spec.index, path=spec.path, verb=verb, step=step, when=when, timeout_s=spec.timeout_s)

    def _branch(self, spec: BranchSpec, before: tuple[PlannedStep, ...]) -> Branch:
        when = None if spec.when is None else Expression.parse(spec.when)
        return Branch(when=when, steps=self.build(spec.steps, before))

    def _toolbox(self, spec: GenerateSpec, place: str) -> toolbox.Toolbox | None:
        told = spec.tools
        if told is None:
            return None
        self._check_takes_tools(spec)
        tools = []
        for index, part in enumerate(told.components):
            tool = self.components.build(Kind.TOOL, part, f"{place}.tools[{index}]", self.give)
            tools.append(toolbox.NamedTool(use=part.use, tool=tool))
        return toolbox.Toolbox(
            tools=tools,
            resources=self.components.resources,
            allow=frozenset(told.allow),
            rounds=told.rounds,
            calls=told.calls,
            timeout_s=told.timeout_s,
            approval_timeout_s=told.approval_timeout_s,
            share=told.share,
        )

    def _check_takes_tools(self, spec: GenerateSpec) -> None:
        """Note each model of the step's chain that takes no tools: only the connectors know it."""
        registry = self.give.registry
        for model in registry.chain(spec.model):
            if "tools" not in model.info.capabilities:
                what = "model" if model.name == registry.get(spec.model).name else "fallback"
                self.components.note_problem(
                    spec.place,
                    f"{spec.path} (generate) has tools, and its {what} {model.name!r} takes none: leave it out,"
                    " or name one with the capability `tools` (`nexus models --json` shows capabilities)",
                )

    def _expander(self, spec: GatherSpec) -> expander.Expander | None:
        if spec.expand is None:
            return None
        expands = expander.Expander(
            step=spec.index, path=spec.path, spec=spec.expand, attempts=self.give.attempts, registry=self.give.registry
        )
        if expands.asks_model and not expands.models:  # only the connectors know it, so that lint cannot
            _log.warning(
                "pipeline %s: `expand` of %s (gather) has no effect: the model %s writes no text of its own",
                self.pipeline,
                spec.path,
                self.give.registry.get(spec.expand.model).name,
            )
        return expands

    def _template(self, spec: PromptSpec) -> Template:
        match spec.template:
            case TemplateText(text=text):
                return TextTemplate.parse(text, f"{spec.path}.prompt.template")
            case TemplateFile(path=path, text=text):
                return TextTemplate.parse(text, path)
            case ComponentSpec() as component:
                template: Template = self.components.build(Kind.TEMPLATE, component)
                return template


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


def _parsed(variables: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return declared variables with their `{{ }}` parsed."""
    return {
        name: Expression.parse(value) if isinstance(value, str) and "{{" in value else value
        for name, value in variables.items()
    }
