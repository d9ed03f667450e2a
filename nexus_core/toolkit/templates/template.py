"""Turns the text of a template into messages, and `{{ }}` in a pipeline into values, in a sandbox (sandbox.py).

    [system]
    Answer in {{ inputs.language|default("English") }}.
    [history]
    [user]
    {{ query }}

A line with `[system]`, `[user]`, `[assistant]` or `[history]` alone on it starts a message (history: those of the
conversation, as they are); without such a line the whole is one user message. The source is divided before anything is
filled in, so what is filled in can never make a message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Self, cast

from attrs import field, frozen
from jinja2 import Template, TemplateSyntaxError, UndefinedError, nodes
from jinja2.exceptions import SecurityError

from nexus_core.contract.errors import TemplateError
from nexus_core.contract.values import Message, Role
from nexus_core.toolkit.suggest import did_you_mean, listed
from nexus_core.toolkit.templates.sandbox import MOST_VALUES, OUTPUT_LIMIT, PLAIN, Budget, BudgetContext, sandbox, weigh
from nexus_core.toolkit.templates.sandbox_syntax import SOURCE_LIMIT, Reads, SyntaxRefusedError, bound, examine

_MARKER = re.compile(r"^\[(system|user|assistant|history)\][ \t]*\r?$\n?", re.MULTILINE)
_HISTORY = "history"
_RESULT = "result"
_ROLES = ("system", "user", "assistant", "tool")
"""Of the history; the last one's messages are results of calls."""
_KEPT = 64
_CONTAINERS = frozenset({list, tuple, dict})


@frozen
class MessageSection:
    """One message of a template: a role and what it says, or the place of the history."""

    role: str
    template: Template | None = field(default=None, eq=False, repr=False)
    joined: tuple[tuple[bool, str], ...] = ()
    """Texts and names, `True` for a name, where the template does nothing but put the values of names between texts."""
    message: Message | None = field(default=None, eq=False, repr=False)
    """The message itself, where nothing has to be filled in and it is not empty."""


@frozen
class TextTemplate:
    """A template, parsed once and rendered often."""

    name: str
    variables: frozenset[str]
    """The top-level names it reads that have no default."""
    names: frozenset[str]
    """The dotted paths it reads that have no default, such as `inputs.tone`."""
    sections: tuple[MessageSection, ...] = field(repr=False)
    lines: Mapping[str, int] = field(repr=False, eq=False)
    """The line that first reads each variable."""

    @classmethod
    def parse(cls, source: str, name: str) -> Self:
        """Return the template, or raise `TemplateError`; nothing of the template runs.

        The last ones are kept: whoever checks a file and whoever builds it ask for the same ones.
        """
        return cls._parsed(source, name)

    @classmethod
    @lru_cache(maxsize=_KEPT)
    def _parsed(cls, source: str, name: str) -> Self:
        _check_size(source, name)
        sections, reads = [], []
        for role, text, line in _divide(source, name):
            section, read = _section(role, text, line, name)
            reads.append(read)
            if role:
                sections.append(section)
        lines = dict(chain.from_iterable(read.lines.items() for read in reversed(reads)))
        variables = frozenset().union(*(read.variables for read in reads))
        return cls(name, variables, frozenset().union(*(read.names for read in reads)), tuple(sections), lines)

    def render(self, variables: Mapping[str, Any]) -> tuple[Message, ...]:
        """Return the messages, without the empty ones. Variables are plain JSON data; none may be missing."""
        _check_plain(variables, self.name)
        _check_given(self.variables, variables, self.name, self.lines)
        messages: list[Message] = []
        budget = Budget()
        for section in self.sections:
            if section.role == _HISTORY:
                messages.extend(_history(variables[_HISTORY], self.name))
            elif section.message is not None:
                messages.append(section.message)
            elif section.template is not None:
                filled = _filled(section.joined, variables, budget) if section.joined else None
                if filled is None:
                    filled = _run(section.template, BudgetContext(variables, budget), self.name)
                if text := _trimmed(filled):
                    messages.append(Message(cast(Role, section.role), text))
        size = sum([len(message.text) for message in messages])
        if size > OUTPUT_LIMIT:
            raise TemplateError(f"{self.name}: the prompt would have {size:,} characters, more than {OUTPUT_LIMIT:,}")
        return tuple(messages)


@frozen
class Expression:
    """A `{{ }}` in a pipeline: a value of its own kind when it stands alone, a text when there is text around it."""

    source: str
    variables: frozenset[str]
    """The top-level names it reads that have no default."""
    names: frozenset[str]
    """The dotted paths it reads that have no default."""
    template: Template = field(repr=False, eq=False)
    native: bool = field(repr=False)
    """Whether it stands alone."""
    made: bool = field(repr=False)
    """Whether it makes its value, and does not only look one up."""

    @classmethod
    def parse(cls, source: str) -> Self:
        """Return the expression, or raise `TemplateError`; nothing of it runs. The last ones are kept, as above."""
        return cls._parsed(source)

    @classmethod
    @lru_cache(maxsize=_KEPT)
    def _parsed(cls, source: str) -> Self:
        name = _shown(source)
        _check_size(source, name)
        tree, reads = _examined(source.strip(), name)
        alone = _alone(tree)
        made = not isinstance(alone, nodes.Name | nodes.Getattr)
        if alone is not None:
            tree.body = [nodes.Assign(nodes.Name(_RESULT, "store", lineno=1), alone, lineno=1)]
        return cls(source, reads.variables, reads.names, _compiled(tree, name), alone is not None, made)

    def evaluate(self, variables: Mapping[str, Any]) -> Any:
        """Return the value: plain JSON data."""
        name = _shown(self.source)
        _check_plain(variables, name)
        _check_given(self.variables, variables, name, {})
        context = BudgetContext(variables, Budget())
        text = _run(self.template, context, name)
        if not self.native:
            return text
        value = context.vars[_RESULT]
        try:
            value = list(value) if isinstance(value, range) else value
            if self.made or type(value) not in _CONTAINERS:
                weigh(value, MOST_VALUES, plain=True)
        except (UndefinedError, SecurityError) as error:
            raise TemplateError(f"{name}: {error}") from error
        return value


def _check_size(source: str, name: str) -> None:
    if len(source) > SOURCE_LIMIT:
        raise TemplateError(f"{name}: a template has at most {SOURCE_LIMIT:,} characters, this one {len(source):,}")


def _shown(source: str) -> str:
    """Return an expression as messages name it."""
    text = " ".join(source.split())
    return text if len(text) <= 80 else text[:77] + "..."


def _divide(source: str, name: str) -> Iterator[tuple[str, str, int]]:
    """Yield role, text and first line of each section; what stands before the first marker has no role."""
    markers = list(_MARKER.finditer(source))
    if not markers:
        yield "user", source, 1
        return
    yield "", source[: markers[0].start()], 1
    for marker, after in zip(markers, [*markers[1:], None], strict=True):
        line = source.count("\n", 0, marker.end()) + 1
        yield marker[1], source[marker.end() : after.start() if after else None], line


def _section(role: str, text: str, line: int, name: str) -> tuple[MessageSection, Reads]:
    # The line breaks in front keep Jinja's line numbers right; they are trimmed off the message.
    tree, reads = _examined("\n" * (line - 1) + text, name)
    joined = _joined(tree)
    constant = None if joined is None or any(is_name for is_name, _ in joined) else "".join(part for _, part in joined)
    constant = constant and _trimmed(constant)
    if role in ("", _HISTORY):
        if constant is None or constant:
            where = "under [history]" if role else "before the first [system], [user], [assistant] or [history] line"
            raise TemplateError(f"{name}:{line}: a template has no text {where}; put it under the line of its role")
        needed = frozenset([_HISTORY] if role else [])
        return MessageSection(role), Reads(needed, needed, dict.fromkeys(needed, line))
    if constant is not None:
        return MessageSection(role, message=Message(cast(Role, role), constant) if constant else None), reads
    return MessageSection(role, template=_compiled(tree, name), joined=joined or ()), reads


def _examined(source: str, name: str) -> tuple[nodes.Template, Reads]:
    """Parse and check a source; returns its tree with the bounds in it."""
    try:
        tree = sandbox().parse(source)
        reads = examine(tree)
        return bound(tree), reads
    except TemplateSyntaxError as error:
        raise TemplateError(f"{name}:{error.lineno}: {error.message}") from error
    except SyntaxRefusedError as error:
        raise TemplateError(f"{name}:{error.line}: {error}") from error
    except RecursionError as error:
        raise TemplateError(f"{name}: it is nested too deep") from error
    except (ValueError, OverflowError) as error:
        raise TemplateError(f"{name}: it holds a number too large to read") from error


def _compiled(tree: nodes.Template, name: str) -> Template:
    environment = sandbox()
    try:
        code = environment.compile(tree)
    except (SyntaxError, RecursionError, ValueError, OverflowError) as error:
        raise TemplateError(f"{name}: it cannot be compiled, make it simpler: {error}") from error
    return environment.template_class.from_code(environment, code, environment.make_globals(None))


def _joined(tree: nodes.Template) -> tuple[tuple[bool, str], ...] | None:
    """Return the texts and names of a template that is nothing else, in their order."""
    joined = []
    for part in [part for node in tree.body for part in (node.nodes if isinstance(node, nodes.Output) else [node])]:
        match part:
            case nodes.TemplateData(data=text):
                joined.append((False, text))
            case nodes.Name(name=variable):
                joined.append((True, variable))
            case _:
                return None
    return tuple(joined)


def _filled(parts: Sequence[tuple[bool, str]], variables: Mapping[str, Any], budget: Budget) -> str | None:
    """Return the texts with the values between them, charged as in the sandbox; `None` is for the sandbox to say."""
    texts, charge = [], 0
    for is_name, part in parts:
        if is_name:
            part = variables.get(part)  # type: ignore[assignment]
            if type(part) is not str:
                return None
            charge += len(part)
        texts.append(part)
    if charge > budget.left:
        return None
    budget.left -= charge
    return "".join(texts)


def _alone(tree: nodes.Template) -> nodes.Expr | None:
    """Return the expression of a template that is nothing but one `{{ }}`."""
    match tree.body:
        case [nodes.Output(nodes=[only])] if not isinstance(only, nodes.TemplateData):
            return only
    return None


def _trimmed(text: str) -> str:
    """Return a message without the blank lines around it."""
    text = text.rstrip()
    start = len(text) - len(text.lstrip())
    return text[text.rfind("\n", 0, start) + 1 :]


def _check_plain(variables: Mapping[str, Any], name: str) -> None:
    """Refuse objects among the variables.

    Only they and their elements are looked at, for the sake of speed; what is hidden deeper the sandbox refuses at use.
    """
    kinds = set(map(type, variables.values()))
    for value in variables.values():
        if value and type(value) in _CONTAINERS:
            kinds.update(map(type, value.values() if type(value) is dict else value))
    if not kinds <= PLAIN:
        wrong = listed(sorted(kind.__name__ for kind in kinds - PLAIN))
        raise TemplateError(f"{name}: variables hold plain JSON data only, no {wrong}")


def _check_given(needed: frozenset[str], values: Mapping[str, Any], name: str, lines: Mapping[str, int]) -> None:
    if not needed <= values.keys():
        missing = needed - values.keys()
        first = min(missing, key=lambda variable: (lines.get(variable, 0), variable))
        place = f"{name}:{lines[first]}" if first in lines else name
        known = listed(sorted(values)) or "no variables"
        raise TemplateError(f"{place}: there is no variable {first!r}{did_you_mean(first, values)}; there are {known}")


def _history(messages: Sequence[Any], name: str) -> Iterator[Message]:
    for message in messages:
        if not (type(message) is dict and message.get("role") in _ROLES and type(message.get("content")) is str):
            raise TemplateError(f"{name}: each entry of `history` has a `role` ({listed(_ROLES)}) and a `content`")
        yield Message(message["role"], message["content"])


def _run(template: Template, context: BudgetContext, name: str) -> str:
    try:
        return "".join(template.root_render_func(context))
    except (UndefinedError, SecurityError, TypeError, ZeroDivisionError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else error
        raise TemplateError(f"{_place(name, error)}: {reason}") from error
    except Exception as error:  # noqa: BLE001 - whatever an expression raises on the data of the day
        # The message may quote a value, and a value may be private; so may the cause.
        raise TemplateError(f"{_place(name, error)}: a value does not fit here ({type(error).__name__})") from None


def _place(name: str, error: BaseException) -> str:
    """Return the name of the template with the line that an error came from."""
    line, trace = None, error.__traceback__
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if template is not None:
            line = template.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    return name if line is None else f"{name}:{line}"
