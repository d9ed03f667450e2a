"""Holds what came of a run against what its test expects: no mismatch, or some that can be read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import unified_diff
from itertools import groupby

import fastjsonschema
from attrs import frozen

from nexus_core.config.cases.json_schemas import compile_schema
from nexus_core.config.cases.language import (
    AnswerExpectation,
    ErrorExpectation,
    Expectations,
    PackedExpectation,
    RolesExpectation,
    TextExpectation,
    TokenBounds,
)
from nexus_core.config.cases.reader import error_kind
from nexus_core.contract.answers import Answer, AttemptFinished
from nexus_core.contract.errors import NexusError, describe_error
from nexus_core.contract.prompts import Prompt
from nexus_core.pipeline_tests.time_limits import TimeLimitError, is_found, limit_cpu
from nexus_core.toolkit.suggest import counted

_LONGEST_SHOWN = 40
"""Lines of a text that is shown since it has not what was expected."""


@frozen(kw_only=True, eq=False, repr=False)
class Outcome:
    """What came of the run of a test."""

    answer: Answer | None = None
    error: NexusError | None = None
    prompt: Prompt | None = None
    """What was sent last, or would be."""
    prompt_tokens: int | None = None
    """Of that prompt, where a test wants to know."""
    model: str | None = None
    """By its name in the pipeline: who answered, or would be asked first."""
    attempts: Sequence[AttemptFinished] = ()
    leftovers: Sequence[str] = ()
    """Which scripts have replies that nobody has asked for, in words; it fails then, too."""
    refusal: str = ""
    """Why something was refused that a test must not do; it fails then."""


@frozen(kw_only=True)
class Mismatch:
    """Something that is not as expected."""

    what: str
    """As the test names it, such as `answer` or `messages.user`."""
    message: str
    lines: tuple[str, ...] = ()
    """A diff, or the text that was looked at."""


def find_mismatches(expect: Expectations | None, outcome: Outcome, aliases: Mapping[str, str]) -> Iterator[Mismatch]:
    """Yield what is not as expected; `aliases` has the names of models by their other names."""
    expect = expect or Expectations()
    if outcome.refusal:
        yield Mismatch(what="test", message=outcome.refusal)
        return
    yield from _error(expect.error, outcome)
    if outcome.error is not None and expect.error is None:
        return
    if expect.model is not None and outcome.model != aliases.get(expect.model, expect.model):
        yield Mismatch(what="model", message=f"expected {expect.model}, found {outcome.model or 'none'}")
    yield from _attempts(expect, outcome, aliases)
    if outcome.prompt is not None:
        yield from _messages(expect, outcome.prompt)
        yield from _packed(expect, outcome.prompt)
    elif expect.messages is not None or expect.packed is not None or expect.not_packed:
        yield Mismatch(what="messages", message="there is no prompt: the run ended before one was packed")
    yield from _tokens(expect.tokens or TokenBounds(), outcome)
    if outcome.answer is not None:
        yield from _answer(expect, outcome.answer)
    yield from (Mismatch(what="models", message=leftover) for leftover in outcome.leftovers)


def _error(expected: str | ErrorExpectation | None, outcome: Outcome) -> Iterator[Mismatch]:
    error = outcome.error
    if expected is None:
        if error is not None:
            message = f"the run failed with {error_kind(type(error))} after {_listed(_ledger(outcome))}"
            yield Mismatch(what="error", message=message, lines=_shown(error))
        return
    if isinstance(expected, str):
        expected = ErrorExpectation(kind=expected)
    if error is None:
        said = () if outcome.answer is None else _shown(outcome.answer.text)
        yield Mismatch(what="error", message=f"expected {expected.kind or 'an error'}, found an answer", lines=said)
        return
    if expected.kind is not None and error_kind(type(error)) != expected.kind:
        message = f"expected {expected.kind}, found {error_kind(type(error))}"
        yield Mismatch(what="error", message=message, lines=_shown(error))
    for text in _texts(expected.contains):
        if text not in str(error):
            yield Mismatch(what="error", message=f"its message does not contain {text!r}", lines=_shown(error))


def _attempts(expect: Expectations, outcome: Outcome, aliases: Mapping[str, str]) -> Iterator[Mismatch]:
    found = _ledger(outcome)
    if isinstance(expect.attempts, int) and expect.attempts != len(found):
        listed = f": {_listed(found)}" if found else ""
        yield Mismatch(what="attempts", message=f"expected {expect.attempts}, found {len(found)}{listed}")
    if isinstance(expect.attempts, tuple):
        yield from _same("attempts", [_resolved(text, aliases) for text in expect.attempts], found)
    if expect.fallback is not None:
        rows = (row for row in outcome.attempts if row.purpose == "answer")
        last = [[*group][-1] for _, group in groupby(rows, key=lambda row: row.model)]
        way = [f"{row.model}:{row.outcome}" for row in last]
        yield from _same("fallback", [_resolved(text, aliases) for text in expect.fallback], way)


def _ledger(outcome: Outcome) -> list[str]:
    return [f"{row.model}:{row.outcome}" for row in outcome.attempts]


def _resolved(text: str, aliases: Mapping[str, str]) -> str:
    model, _, ended = text.rpartition(":")
    return f"{aliases.get(model, model)}:{ended}"


def _messages(expect: Expectations, prompt: Prompt) -> Iterator[Mismatch]:
    if isinstance(expect.messages, RolesExpectation):
        for role in ("system", "user", "assistant"):
            wanted: str | TextExpectation | None = getattr(expect.messages, role)
            said = [message.text for message in prompt.messages if message.role == role]
            if wanted is not None and not said:
                roles = _listed([message.role for message in prompt.messages])
                yield Mismatch(what=f"messages.{role}", message=f"there is no such message; there are: {roles}")
            elif wanted is not None:
                yield from _text(f"messages.{role}", wanted, said[-1])
    elif expect.messages is not None:
        wanted_text, found = map(_conversation, (expect.messages, prompt.messages))
        if wanted_text != found:
            yield Mismatch(what="messages", message="differ", lines=_diff(wanted_text, found))


def _conversation(messages: Sequence[object]) -> str:
    """Return messages as one text, each under its role."""
    parts = [f"[{getattr(message, 'role')}]\n{str(getattr(message, 'content')).rstrip()}" for message in messages]  # noqa: B009 - two classes have them
    return "\n\n".join(parts)


def _packed(expect: Expectations, prompt: Prompt) -> Iterator[Mismatch]:
    found = [packed.item.id for packed in prompt.items]
    wanted = expect.packed
    if isinstance(wanted, tuple):
        wanted = PackedExpectation(in_order=wanted)
    if wanted is not None:
        if wanted.in_order is not None:
            yield from _same("packed", wanted.in_order, found)
        if wanted.any_order is not None:
            yield from _same("packed", sorted(wanted.any_order), sorted(found))
        if missing := [id for id in wanted.contains if id not in found]:
            yield Mismatch(what="packed", message=f"{_listed(missing)} missing; found {_listed(found)}")
    if there := [id for id in expect.not_packed if id in found]:
        yield Mismatch(what="not_packed", message=f"{_listed(there)} is in the prompt; found {_listed(found)}")


def _tokens(bounds: TokenBounds, outcome: Outcome) -> Iterator[Mismatch]:
    answer, attempts = outcome.answer, outcome.attempts
    found = {
        "prompt_tokens": outcome.prompt_tokens,
        "completion_tokens": answer.usage.completion_tokens if answer is not None else None,
        "total_tokens": sum((row.prompt_tokens or 0) + (row.completion_tokens or 0) for row in attempts),
    }
    for name, count in found.items():
        most: int | None = getattr(bounds, name)
        if most is not None and (count is None or count > most):
            shown = "an unknown number" if count is None else count
            yield Mismatch(what=f"tokens.{name}", message=f"expected at most {most}, found {shown}")


def _answer(expect: Expectations, answer: Answer) -> Iterator[Mismatch]:
    if expect.answer is not None:
        yield from _text("answer", expect.answer, answer.text)
    if isinstance(expect.answer, AnswerExpectation) and expect.answer.json_schema is not None:
        yield from _schema(expect.answer.json_schema, answer)
    if expect.citations is not None:
        cited = {packed.item.id for packed in answer.cited_items}
        yield from _same("citations", sorted(set(expect.citations)), sorted(cited))


def _schema(schema: Mapping[str, object], answer: Answer) -> Iterator[Mismatch]:
    text = answer.text
    try:
        value = answer.value if answer.has_value else json.loads(text)
        with limit_cpu():
            compile_schema(schema)(value)
    except fastjsonschema.JsonSchemaValueException as error:
        message = f"is not what its `json_schema` allows: {error.message.replace('data', 'it', 1)}"
        yield Mismatch(what="answer", message=message, lines=_shown(text))
    except ValueError as error:
        yield Mismatch(what="answer", message=f"is no JSON: {error}", lines=_shown(text))
    except RecursionError:
        message = "is nested too deeply, or its `json_schema` refers to itself without end"
        yield Mismatch(what="answer", message=message, lines=_shown(text))
    except Exception as error:  # noqa: BLE001 - the code that fastjsonschema makes of a schema raises what it likes
        message = f"cannot be checked by its `json_schema`: {describe_error(error)}"
        yield Mismatch(what="answer", message=message, lines=_shown(text))


def _text(what: str, expected: str | TextExpectation, found: str) -> Iterator[Mismatch]:
    if isinstance(expected, str):
        expected = TextExpectation(equals=expected)
    if expected.equals is not None and expected.equals.rstrip() != found.rstrip():
        yield Mismatch(what=what, message="differs", lines=_diff(expected.equals.rstrip(), found.rstrip()))
    wrong = [f"does not contain {text!r}" for text in _texts(expected.contains) if text not in found]
    wrong += [f"contains {text!r}" for text in _texts(expected.not_contains) if text in found]
    wrong += _no_match(expected.matches, found)
    if wrong:
        yield Mismatch(what=what, message="; ".join(wrong), lines=_shown(found))


def _no_match(pattern: str | None, text: str) -> list[str]:
    """Return why a text has no match of a pattern, if there is one and it has none."""
    try:
        return [] if pattern is None or is_found(pattern, text) else [f"does not match {pattern!r}"]
    except TimeLimitError as error:
        return [f"cannot be searched for {pattern!r}, which backtracks too much: {error}"]


def _same(what: str, expected: Sequence[str], found: Sequence[str]) -> Iterator[Mismatch]:
    if list(expected) != list(found):
        yield Mismatch(what=what, message=f"expected {_listed(expected)}, found {_listed(found)}")


def _texts(texts: str | Sequence[str]) -> Sequence[str]:
    return (texts,) if isinstance(texts, str) else texts


def _listed(texts: Sequence[str]) -> str:
    return f"[{', '.join(texts)}]"


def _diff(expected: str, found: str) -> tuple[str, ...]:
    return tuple(unified_diff(expected.splitlines(), found.splitlines(), "expected", "found", lineterm=""))


def _shown(text: object) -> tuple[str, ...]:
    """Return the lines of a text, of a long one the first."""
    lines = str(text).splitlines()
    rest = len(lines) - _LONGEST_SHOWN
    return (*lines[:_LONGEST_SHOWN], f"... and {counted(rest, 'more line')}") if rest > 0 else tuple(lines)
