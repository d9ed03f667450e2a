"""Call steps: another pipeline, what it is asked, and what is taken of it."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from nexus_core.config.components import Components
from nexus_core.config.expressions import Expressions, KnownNames, has_expression
from nexus_core.config.keys import CallStepKeys, keys_of
from nexus_core.config.options import with_defaults
from nexus_core.config.spec import GenerateSpec, walk_steps
from nexus_core.config.steps.called_pipelines import CalledPipelines
from nexus_core.config.steps.inputs import check_inputs
from nexus_core.config.yaml.problems import Problems, quoted
from nexus_core.config.yaml.tree import MappingNode, Node, ScalarNode, UnreadableNode, shown, under


@frozen(kw_only=True, eq=False, repr=False)
class CallReader:
    """Reads the bodies of call steps."""

    components: Components
    expressions: Expressions
    called: CalledPipelines

    @property
    def _problems(self) -> Problems:
        return self.components.problems

    def read(self, node: Node, names: KnownNames, label: str) -> dict[str, Any] | None:
        """Return the fields of a CallPipelineSpec, or `None` after noting what is wrong."""
        node = under("pipeline", node) if isinstance(node, ScalarNode) else node
        if not isinstance(node, MappingNode):
            if not isinstance(node, UnreadableNode):
                message = f"`call` must be a pipeline's file, or {{pipeline: ./other.yaml, ...}}, found {shown(node)}"
                self._problems.error("T001", node.place, message)
            return None
        specs, file = keys_of(CallStepKeys), node.get("pipeline")
        given = with_defaults(self.components.options.mapping(node, specs, label, skip=("pipeline",)), specs)
        self._check_expressions(node.get("query"), node.get("inputs"), names)
        found = None if file is None else self.called.find(file)
        if found is None:
            return None
        reference, other = found
        check_inputs(node.get("inputs"), other.inputs, label, node.place, self._problems)
        if given["take"] == "answer" and not any(isinstance(step, GenerateSpec) for step in walk_steps(other.steps)):
            message = f"the pipeline {quoted(other.name)} has no answer, since no step of it generates: `take: items`"
            self._problems.error("C003", reference.place, message)
        return {"pipeline": reference, "query": given["query"], "inputs": given["inputs"], "take": given["take"]}

    def _check_expressions(self, query: Node | None, inputs: Node | None, names: KnownNames) -> None:
        values = [value for _, value in inputs.items()] if isinstance(inputs, MappingNode) else []
        for value in (query, *values):
            if isinstance(value, ScalarNode) and has_expression(value):
                self.expressions.check(value, names)
