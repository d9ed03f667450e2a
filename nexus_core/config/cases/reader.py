"""Reads the tests of a pipeline: those under its key `tests`, and those in the file `NAME.tests.yaml` beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from nexus_core.config.cases.json_schemas import RemoteReferenceError, compile_schema, reference_node
from nexus_core.config.cases.language import AnswerExpectation, Case, Expectations, Reply, RolesExpectation
from nexus_core.config.keys import keys_of
from nexus_core.config.models import ModelSpecs
from nexus_core.config.options import Options, place_of
from nexus_core.config.sibling_files import STANDARD_INPUT, UnsavedTexts, read_start, tests_beside
from nexus_core.config.spec import InputSpec, RecordSpec
from nexus_core.config.steps.inputs import check_inputs
from nexus_core.config.yaml.problems import Problems, SourceLocation, quoted
from nexus_core.config.yaml.reader import MOST_BYTES, read
from nexus_core.config.yaml.tree import (
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
    UnreadableNode,
    is_readable,
    shown,
)
from nexus_core.contract import errors
from nexus_core.contract.errors import ConnectorError, NexusError
from nexus_core.toolkit.suggest import counted, did_you_mean, instead

_KEY = "tests"


@frozen(eq=False, repr=False)
class PlacedCase:
    """A test, and where it stands."""

    case: Case
    place: SourceLocation


def error_kind(error: type[NexusError]) -> str:
    """Return the kind of an error as a test names it: that of a connector's, else its class as a word."""
    if issubclass(error, ConnectorError):
        return error.kind
    return "_".join(re.findall("[A-Z][a-z]+", error.__name__.removesuffix("Error"))).lower()


def connector_errors() -> Mapping[str, type[ConnectorError]]:
    """Return the errors that a scripted service may fail with, by kind."""
    return {kind: cls for kind, cls in _kinds().items() if issubclass(cls, ConnectorError) and kind != "connector"}


def _kinds() -> dict[str, type[NexusError]]:
    found = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, NexusError)]
    return {error_kind(cls): cls for cls in found if cls is not NexusError}


def read_cases(
    node: Node | None,
    options: Options,
    models: ModelSpecs,
    inputs: tuple[InputSpec, ...] | None,
    unsaved: UnsavedTexts | None = None,
) -> tuple[PlacedCase, ...]:
    """Return the sound tests of a pipeline, those in the file beside it last; every problem is noted."""
    reading = _Reading(options, models, inputs)
    found = [*reading.cases(node)]
    file = options.problems.file
    beside = None if file == STANDARD_INPUT else tests_beside(Path(file), unsaved)
    if beside is not None:
        found += reading.cases(_file(beside, unsaved, options.problems))
    return tuple(found)


def _file(path: Path, unsaved: UnsavedTexts | None, problems: Problems) -> Node | None:
    """Return what stands under `tests` of a file beside a pipeline."""
    try:
        tree = read(read_start(path, MOST_BYTES, unsaved), str(path), problems)
    except OSError as error:
        problems.error("Y001", SourceLocation(str(path)), f"the file cannot be read: {error.strerror or error}")
        return None
    if isinstance(tree, MappingNode):
        for entry in tree.entries:
            if entry.key.text != _KEY:
                hint = instead(entry.key.text, [_KEY], "it takes")
                problems.error("S002", entry.key.place, f"a file of tests takes no {quoted(entry.key.text)}{hint}")
        if _KEY in tree:
            return tree.get(_KEY)
    if not isinstance(tree, UnreadableNode):
        place = SourceLocation(str(path)) if tree is None else tree.place
        problems.error("S003", place, "a file of tests is a mapping with the key `tests`, a list")
    return None


def _is_place(model: str) -> bool:
    """Tell whether a model is one by its place in a step, be it that of a pipeline that is called."""
    return model.startswith("steps[") or "/steps[" in model


@define(eq=False, repr=False)
class _Reading:
    options: Options
    models: ModelSpecs
    inputs: tuple[InputSpec, ...] | None
    names: dict[str, SourceLocation] = field(factory=dict)

    @property
    def problems(self) -> Problems:
        return self.options.problems

    def cases(self, node: Node | None) -> Iterator[PlacedCase]:
        if node is None or isinstance(node, UnreadableNode):
            return
        if not isinstance(node, SequenceNode):
            message = f"`tests` must be a list: begin each test with '- name: ...'; found {shown(node)}"
            self.problems.error("T001", node.place, message)
            return
        for index, item in enumerate(node.items):
            if isinstance(item, MappingNode):
                yield from self._case(item, index)
            elif not isinstance(item, UnreadableNode):
                message = f"a test is a mapping with `name` and `query`, found {shown(item)}"
                self.problems.error("T001", item.place, message)

    def _case(self, node: MappingNode, index: int) -> Iterator[PlacedCase]:
        before = self.problems.errors
        name = node.get("name")
        label = f"test {quoted(name.text)}" if isinstance(name, ScalarNode) else f"tests[{index}]"
        values = self.options.mapping(node, keys_of(Case), label)
        if isinstance(name, ScalarNode):
            self._check_name(name)
        if not str(values.get("query", "x")).strip():
            self.problems.error("T004", place_of(node, "query"), f"the query of {label} is empty")
        # What is unreadable was noted before this test was looked at, and its value is missing.
        if self.problems.errors == before and is_readable(node):
            case = Case(**{key: _built(value) for key, value in values.items()})
            self._check(node, case)
            if self.problems.errors == before:
                yield PlacedCase(case, node.place)

    def _check_name(self, name: ScalarNode) -> None:
        if name.text in self.names:
            at = self.names[name.text]
            message = f"two tests are called {quoted(name.text)}, the other in {at.file}:{at.line}: give each its name"
            self.problems.error("N007", name.place, message)
        self.names.setdefault(name.text, name.place)

    def _check(self, node: MappingNode, case: Case) -> None:
        """Note what is wrong with a test whose values have the right types."""
        if self.inputs is not None:
            check_inputs(node.get("inputs"), self.inputs, f"test {quoted(case.name)}", node.place, self.problems)
        self._check_model(node.get("model"))
        self._check_models(node.get("models"), case)
        known = [item_id(item, number) for number, item in enumerate(case.items or (), 1)]
        for id in {id for number, id in enumerate(known) if id in known[:number]}:
            message = f"two items of the test have the id {quoted(id)}: give each its own"
            self.problems.error("N007", place_of(node, "items"), message)
        expected = node.get("expect")
        if case.expect is None or not isinstance(expected, MappingNode):
            return
        self._check_model(expected.get("model"))
        for key in ("fallback", "attempts"):
            self._check_outcomes(expected.get(key))
        self._check_texts(expected, case.expect)
        self._check_error(expected, case.expect)
        if case.items is not None:
            self._check_ids(expected, known)

    def _check_model(self, node: Node | None) -> None:
        if isinstance(node, ScalarNode) and isinstance(node.value, str):
            self.models.find(node, self.problems)

    def _check_models(self, node: Node | None, case: Case) -> None:
        if not isinstance(node, MappingNode):
            return
        for key, value in node.items():
            if not _is_place(key.text):  # a connector that is an option of a component, by its place
                self.models.find(key, self.problems)
            replies = case.models[key.text]
            nodes = value.items if isinstance(value, SequenceNode) else (value,)
            for at, reply in zip(nodes, replies if isinstance(replies, tuple) else (replies,), strict=True):
                if isinstance(at, MappingNode) and isinstance(reply, Reply):
                    self._check_reply(at, reply)

    def _check_reply(self, node: MappingNode, reply: Reply) -> None:
        ends = [key for key in ("status", "error", "cut", "stall") if key in node]
        if len(ends) > 1:
            message = f"a reply ends in one way, this one has {' and '.join(f'`{key}`' for key in ends)}: keep one"
            self.problems.error("S006", place_of(node, ends[1]), message)
        if "retry_after" in node and not reply.is_failure:
            message = "`retry_after` has no effect without `status` or `error`"
            self.problems.error("S006", place_of(node, "retry_after"), message)
        for key in ("cut", "stall"):
            if (getattr(reply, key) or 0) > len(reply.text):
                message = f"`{key}` is after the end of `text`, which has {counted(len(reply.text), 'character')}"
                self.problems.error("T002", place_of(node, key), message)
        known = connector_errors()
        if reply.error is not None and reply.error not in known:
            self._no_such("error", node.get("error"), list(known))

    def _no_such(self, key: str, node: Node | None, known: list[str]) -> None:
        if isinstance(node, ScalarNode):
            rest = instead(node.text, known, "there are")
            self.problems.error("T003", node.place, f"`{key}` must be the kind of an error, found {shown(node)}{rest}")

    def _check_outcomes(self, node: Node | None) -> None:
        """Note what is wrong with the texts `model:outcome`."""
        for text in node.items if isinstance(node, SequenceNode) else ():
            if not isinstance(text, ScalarNode):
                continue
            model, colon, outcome = text.text.rpartition(":")
            outcomes = ["ok", "cancelled", *connector_errors()]
            if not colon or outcome not in outcomes:
                hint = did_you_mean(outcome, outcomes) if colon else ""
                message = f"must be `model:outcome`, as in `main:ok`, found {shown(text)}{hint}"
                self.problems.error("T004", text.place, f"an attempt {message}")
            elif not _is_place(model) and model not in self.models.names and self.models.complete:
                rest = instead(model, self.models.names, "declared under `models`")
                self.problems.error("N001", text.place, f"no model is named {quoted(model)}{rest}")

    def _check_texts(self, node: MappingNode, expect: Expectations) -> None:
        answer = node.get("answer")
        self._check_pattern(answer)
        if isinstance(expect.messages, RolesExpectation):
            messages = node.get("messages")
            for _, value in messages.items() if isinstance(messages, MappingNode) else ():
                self._check_pattern(value)
        if isinstance(answer, MappingNode) and isinstance(expect.answer, AnswerExpectation):
            self._check_schema(answer, expect.answer)

    def _check_pattern(self, node: Node | None) -> None:
        pattern = node.get("matches") if isinstance(node, MappingNode) else None
        if isinstance(pattern, ScalarNode):
            try:
                re.compile(pattern.text)
            except (re.error, OverflowError, RecursionError) as error:
                message = f"`matches` is no regular expression: {error}"
                self.problems.error("T004", pattern.place, message)

    def _check_schema(self, node: MappingNode, answer: AnswerExpectation) -> None:
        if answer.json_schema is None:
            return
        try:
            compile_schema(answer.json_schema)
        except RemoteReferenceError as error:
            schema = node.get("json_schema")
            reference = reference_node(schema, error.uri) or schema or node
            self.problems.error("T004", reference.place, f"in `json_schema`, {error}")
        except Exception as error:  # noqa: BLE001 - it compiles code of what stands in the file
            message = f"`json_schema` is no JSON Schema up to draft 7: {error}"
            self.problems.error("T004", place_of(node, "json_schema"), message)

    def _check_error(self, node: MappingNode, expect: Expectations) -> None:
        error, known = node.get("error"), list(_kinds())
        if error is None:
            return
        for key in ("answer", "citations", "model"):
            if key in node:
                message = f"`{key}` can never be as expected where `error` is: remove one of the two"
                self.problems.error("S006", place_of(node, key), message)
        kind = error.get("kind") if isinstance(error, MappingNode) else error
        if isinstance(kind, ScalarNode) and kind.text not in known:
            self._no_such("kind" if isinstance(error, MappingNode) else "error", kind, known)

    def _check_ids(self, node: MappingNode, known: list[str]) -> None:
        """Note the ids of items that the test does not give."""
        packed = node.get("packed")
        lists = [node.get("not_packed"), node.get("citations"), packed]
        lists += [value for _, value in packed.items()] if isinstance(packed, MappingNode) else []
        for ids in lists:
            for id_node in ids.items if isinstance(ids, SequenceNode) else ():
                if isinstance(id_node, ScalarNode) and id_node.text not in known:
                    rest = instead(id_node.text, known, "it gives")
                    message = f"the test gives no item {quoted(id_node.text)}{rest}"
                    self.problems.error("N008", id_node.place, message)


def item_id(item: Any, number: int) -> str:
    """Return the id of an item of a test, by its place from 1 where it has none."""
    given: str | None = None if isinstance(item, str) else item.id
    return str(number) if given is None else given


def _built(value: Any) -> Any:
    """Return a checked value with its mappings as the classes that declare them."""
    match value:
        case RecordSpec(cls=cls, fields=fields):
            return cls(**{name: _built(part) for name, part in fields.items()})
        case tuple():
            return tuple(_built(part) for part in value)
        case dict():
            return {key: _built(part) for key, part in value.items()}
    return value
