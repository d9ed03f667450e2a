"""The `steps` of a pipeline: one verb each, and modifiers; steps within steps, too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import define, field

from nexus_core.config.components import Components
from nexus_core.config.expressions import Expressions, KnownNames
from nexus_core.config.keys import VERBS, BranchKeys, StepKeys, keys_of
from nexus_core.config.models import ModelSpecs
from nexus_core.config.names import identifies
from nexus_core.config.options import BAD
from nexus_core.config.prompts import Prompts
from nexus_core.config.spec import (
    BranchSpec,
    CallPipelineSpec,
    ChooseSpec,
    GatherSpec,
    GenerateSpec,
    PromptSpec,
    RankSpec,
    StepSpec,
    TogetherSpec,
)
from nexus_core.config.steps.call import CallReader
from nexus_core.config.steps.called_pipelines import CalledPipelines
from nexus_core.config.steps.gather import GatherReader
from nexus_core.config.steps.generate import GenerateReader
from nexus_core.config.steps.order import StepOrder
from nexus_core.config.yaml.problems import Problems
from nexus_core.config.yaml.tree import MappingNode, Node, ScalarNode, SequenceNode, UnreadableNode, shown
from nexus_core.contract.components import Kind
from nexus_core.toolkit.suggest import listed

_SPECS = {spec.name: spec for spec in keys_of(StepKeys)}
_CLASSES: Mapping[str, type] = {
    "gather": GatherSpec,
    "rank": RankSpec,
    "prompt": PromptSpec,
    "generate": GenerateSpec,
    "choose": ChooseSpec,
    "together": TogetherSpec,
    "call": CallPipelineSpec,
}
_PARTS = ("gather", "rank")
"""What may run side by side."""
_NO_NAME = {
    "prompt": "its result is a draft; put `as` on the generate step after it",
    "choose": "put `as` on the steps inside",
    "together": "put `as` on the steps inside",
}
"""The verbs that take no `as`, and what to do instead."""


@define(eq=False, repr=False)
class Steps:
    """Reads steps, one after the other; what earlier ones keep is known to later ones."""

    components: Components
    expressions: Expressions
    prompts: Prompts
    models: ModelSpecs
    called: CalledPipelines
    inputs: frozenset[str] | None
    default_model: str | None = None
    vars: list[str] = field(factory=list)
    used_models: set[str] = field(factory=set)
    with_tools: list[str] = field(factory=list)
    """The generate steps that have tools."""
    outlines: tuple[StepOrder, ...] = ()
    complete: bool = True
    """Every step has its one verb, so that their order means something."""

    @property
    def _problems(self) -> Problems:
        return self.components.problems

    def read(self, node: Node | None) -> tuple[StepSpec, ...]:
        """Return the sound steps of the `steps` node; every problem is noted."""
        if node is None or isinstance(node, UnreadableNode):
            return ()
        specs, self.outlines = self._steps(node, "steps", None, "at least `- generate:`")
        return specs

    def _steps(
        self, node: Node, place: str, index: int | None, wanted: str
    ) -> tuple[tuple[StepSpec, ...], tuple[StepOrder, ...]]:
        """Return the sound steps of a list and their outlines; `index` is that of the step that they stand in."""
        specs: list[StepSpec] = []
        outlines: list[StepOrder] = []
        for number, item in enumerate(self._items(node, place, wanted)):
            spec, outline = self._step(item, f"{place}[{number}]", number if index is None else index)
            specs += [spec] if spec is not None else []
            outlines += [outline] if outline is not None else []
        return tuple(specs), tuple(outlines)

    def _items(self, node: Node, place: str, wanted: str) -> Sequence[Node]:
        name = place.rpartition(".")[2]
        if not isinstance(node, SequenceNode):
            if not isinstance(node, UnreadableNode):
                entry = "begin each step with '- ', as in `- rank: name`"
                self._problems.error("T001", node.place, f"`{name}` must be a list: {entry}; found {shown(node)}")
            self.complete = False
            return ()
        if not node.items:
            self._problems.error("O001", node.place, f"`{name}` is empty: add {wanted}")
        return node.items

    def _step(self, node: Node, path: str, index: int) -> tuple[StepSpec | None, StepOrder | None]:
        if not isinstance(node, MappingNode):
            if not isinstance(node, UnreadableNode):
                message = f"a step is a mapping with a verb, as in `- rank: name`, found {shown(node)}"
                self._problems.error("T001", node.place, message)
            self.complete = False
            return None, None
        verb = self._verb(node, path)
        if verb is None:
            return None, None
        before = self._problems.errors
        names = KnownNames(inputs=self.inputs, vars=tuple(self.vars))
        common = self._modifiers(node, verb, names)
        body = node.get(verb) or UnreadableNode(node.place)
        fields, branches = self._body(verb, body, names, path, index)
        parts = branches[0] if verb == "together" else ()
        outline = StepOrder(
            path=path,
            verb=verb,
            acts_as=_effect(verb, fields, branches),
            place=node.place,
            conditional=node.get("when") is not None or (bool(parts) and all(part.conditional for part in parts)),
            kept=node.get("as") is not None or any(part.kept for part in parts),
            into_query=verb == "generate" and node.get("into") is not None,
            branches=branches if verb == "choose" else (),
            is_open=verb == "choose" and not _has_otherwise(body),
        )
        if common.get("as_name"):
            self.vars.append(common["as_name"])
        into_query = common.pop("into_query")
        if verb == "call" and fields is not None and fields["take"] == "answer" and node.get("as") is None:
            message = f"{path} (call) keeps its answer nowhere: add `as: name`, or say `take: items`"
            self._problems.error("S003", node.place, message)
        if fields is None or self._problems.errors != before:
            return None, outline
        extra = {"into_query": into_query} if verb == "generate" else {}
        return _CLASSES[verb](**common, **fields, **extra, index=index, path=path, place=node.place), outline

    def _verb(self, node: MappingNode, path: str) -> str | None:
        """Return the verb of a step, the first one where there are several; unknown keys are noted."""
        for entry in node.entries:
            if entry.key.text not in _SPECS:
                self.components.options.unknown(entry.key, path, list(_SPECS))
        found = [key for key in node.names() if key in VERBS]
        if len(found) > 1:
            message = f"a step has one verb, this one has {listed(found)}: begin each with a '- ' of its own"
            self._problems.error("S004", node.place, message)
        elif not found and all(key in _SPECS for key in node.names()):  # an unknown key was likely meant as the verb
            self._problems.error("S004", node.place, f"a step needs a verb: {', '.join(VERBS[:-1])} or {VERBS[-1]}")
        self.complete = self.complete and len(found) == 1
        return found[0] if found else None

    def _modifiers(self, node: MappingNode, verb: str, names: KnownNames) -> dict[str, Any]:
        timeout = node.get("timeout")
        if timeout is not None and verb == "choose":
            message = "a choose step takes no `timeout`: it only chooses; put `timeout` on the steps inside"
            self._problems.error("S005", timeout.place, message)
        return {
            "as_name": self._as(node.get("as"), verb),
            "when": self._when(node.get("when"), names),
            "timeout_s": self.components.options.duration(timeout, _SPECS["timeout"]),
            "into_query": self._into(node.get("into"), verb),
        }

    def _as(self, node: Node | None, verb: str) -> str | None:
        if node is None:
            return None
        if verb in _NO_NAME:
            self._problems.error("S005", node.place, f"a {verb} step takes no `as`: {_NO_NAME[verb]}")
            return None
        name = self.components.options.value(node, _SPECS["as"], str | None, "as")
        if not isinstance(name, str) or not isinstance(node, ScalarNode):
            return None
        return name if identifies(node, "a variable", self._problems) else None

    def _when(self, node: Node | None, names: KnownNames) -> str | None:
        if node is None:
            return None
        value = self.components.options.value(node, _SPECS["when"], _SPECS["when"].annotation, "when")
        if value is BAD or not isinstance(node, ScalarNode) or value in (None, True):
            return None
        if value is False:
            return "{{ false }}"
        return node.text if self.expressions.check(node, names, alone=True) else None

    def _into(self, node: Node | None, verb: str) -> bool:
        if node is None:
            return False
        if verb != "generate":
            self._problems.error("S005", node.place, f"{verb} takes no `into`: only an answer can become the query")
            return False
        value = self.components.options.value(node, _SPECS["into"], _SPECS["into"].annotation, "into")
        return bool(value == "query")

    def _body(
        self, verb: str, node: Node, names: KnownNames, path: str, index: int
    ) -> tuple[dict[str, Any] | None, tuple[tuple[StepOrder, ...], ...]]:
        """Return the fields of a step of their own, and the outlines of the steps inside it."""
        label, none = f"{path} ({verb})", ((),)
        if verb == "prompt":
            return self.prompts.read(node, names, label), none
        if verb == "generate":
            return self._generates().read(node, label), none
        if verb == "gather":
            return self._gathers().read(node, label), none
        if verb == "rank":
            return {"ranker": self.components.reference(node, Kind.RANKER)}, none
        if verb == "call":
            reader = CallReader(components=self.components, expressions=self.expressions, called=self.called)
            return reader.read(node, names, label), none
        return self._choose(node, path, index) if verb == "choose" else self._together(node, path, index)

    def _gathers(self) -> GatherReader:
        return GatherReader(
            components=self.components,
            models=self.models,
            default_model=self.default_model,
            used_models=self.used_models,
        )

    def _generates(self) -> GenerateReader:
        return GenerateReader(
            components=self.components,
            models=self.models,
            folder=self.prompts.folder,
            default_model=self.default_model,
            used_models=self.used_models,
            with_tools=self.with_tools,
        )

    def _choose(self, node: Node, path: str, index: int) -> tuple[dict[str, Any], tuple[tuple[StepOrder, ...], ...]]:
        """Return the branches; each knows what steps before keep, and those after know what any branch keeps."""
        known, kept = tuple(self.vars), list[str]()
        branches: list[BranchSpec] = []
        outlines: list[tuple[StepOrder, ...]] = []
        for number, branch in enumerate(self._branches(node, f"{path}.choose")):
            place = f"{path}.choose[{number}]"
            given = branch.get("steps")
            # The values are read below, as those of any step.
            self.components.options.mapping(branch, keys_of(BranchKeys), place, skip=("when", "steps"))
            when = self._when(branch.get("when"), KnownNames(inputs=self.inputs, vars=known))
            self.vars = list(known)
            steps, inner = ((), ()) if given is None else self._steps(given, f"{place}.steps", index, "a step")
            kept += self.vars[len(known) :]
            branches.append(BranchSpec(when=when, steps=steps, place=branch.place))
            outlines.append(inner)
        self.vars = [*known, *dict.fromkeys(kept)]
        return {"branches": tuple(branches)}, tuple(outlines) or ((),)

    def _branches(self, node: Node, path: str) -> Iterator[MappingNode]:
        items = self._items(node, path, 'at least `- {when: "{{ ... }}", steps: [...]}`')
        for number, item in enumerate(items):
            if isinstance(item, MappingNode):
                if number < len(items) - 1 and item.get("when") is None:
                    message = f"{path}[{number}] has no `when`, so that what follows it is never chosen: put it last"
                    self._problems.error("O010", item.place, message)
                yield item
            elif not isinstance(item, UnreadableNode):
                message = f'a branch is a mapping, as in {{when: "{{{{ ... }}}}", steps: [...]}}, found {shown(item)}'
                self._problems.error("T001", item.place, message)
                self.complete = False

    def _together(self, node: Node, path: str, index: int) -> tuple[dict[str, Any], tuple[tuple[StepOrder, ...], ...]]:
        """Return the parts; none of them knows what another keeps."""
        known, kept = list(self.vars), list[str]()
        parts: list[StepSpec] = []
        outlines: list[StepOrder] = []
        for number, item in enumerate(self._items(node, f"{path}.together", "at least two gather or rank steps")):
            self.vars = list(known)
            spec, outline = self._step(item, f"{path}.together[{number}]", index)
            kept += self.vars[len(known) :]
            if outline is None:
                continue
            if outline.verb not in _PARTS:
                message = f"only gather or rank steps run side by side: put {outline.verb} before or after `together`"
                self._problems.error("O011", item.place, message)
            elif outlines and outline.verb != outlines[0].verb:
                message = (
                    f"`together` has gather steps or rank steps, not both: give the {outline.verb} steps their own"
                )
                self._problems.error("O011", item.place, message)
            parts += [spec] if spec is not None else []
            outlines.append(outline)
        self.vars = [*known, *kept]
        return {"parts": tuple(parts)}, (tuple(outlines),)


def _effect(verb: str, fields: Mapping[str, Any] | None, inner: Sequence[Sequence[StepOrder]]) -> str:
    """Return the verb that a step acts as upon its neighbours."""
    if verb == "together":
        return inner[0][0].verb if inner[0] else verb
    if verb == "call" and fields is not None and fields["take"] == "items":
        return "gather"
    return verb


def _has_otherwise(node: Node) -> bool:
    """Tell whether the last branch holds always."""
    last = node.items[-1] if isinstance(node, SequenceNode) and node.items else None
    return isinstance(last, MappingNode) and last.get("when") is None
