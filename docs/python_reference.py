"""Reference of Python names: signatures, docstrings, fields and members, as Markdown."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import attrs


def escape(text: str) -> str:
    """Return text for the cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("${", "$&#123;")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def paragraphs(docstring: str | None) -> str:
    """Return a docstring as Markdown: drawings, which are indented, as code."""
    text = inspect.cleandoc(docstring or "")
    blocks = (
        f"```text\n{block}\n```" if re.search("^ {4}", block, re.MULTILINE) else block for block in text.split("\n\n")
    )
    return "\n\n".join(blocks)


def public_api(title: str, module: Any) -> str:
    """Return every exported name with its signature and docstring."""
    parts = [f"# {title}\n\nImported from `{module.__name__}`. Paths of modules below it are not public.\n"]
    for name in sorted(module.__all__):
        value = getattr(module, name)
        doc = paragraphs(value.__doc__) if inspect.isclass(value) or inspect.isroutine(value) else ""
        head = f"## {name}\n\n```python\n{_signature(name, value)}\n```\n\n{doc}"
        parts.append(f"{head}\n{field_table(value)}{_members(value)}")
    return "\n".join(parts)


def _signature(name: str, value: Any) -> str:
    if not callable(value) or not hasattr(value, "__name__"):
        return name
    if getattr(value, "_is_protocol", False):
        return f"class {name}(Protocol)"
    prefix = "class " if inspect.isclass(value) else "async def " if inspect.iscoroutinefunction(value) else "def "
    try:
        signature = inspect.signature(value)
    except ValueError:
        return f"{prefix}{name}"
    told = list(_parameters(signature))
    returned = "" if inspect.isclass(value) else f" -> {_annotation(signature.return_annotation)}"
    line = f"{prefix}{name}({', '.join(told)}){returned}"
    return line if len(line) <= 100 else f"{prefix}{name}(\n    " + ",\n    ".join(told) + f",\n){returned}"


def _parameters(signature: inspect.Signature) -> Iterator[str]:
    """Yield each parameter as it is written in a definition."""
    starred = False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            yield "*"
        starred = starred or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        marks: dict[Any, str] = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
        mark = marks.get(parameter.kind, "")
        annotation = f": {_annotation(parameter.annotation)}" if parameter.annotation is not parameter.empty else ""
        default = ""
        if parameter.default is not parameter.empty:
            default = f" = {'...' if parameter.default is attrs.NOTHING else repr(parameter.default)}"
        yield f"{mark}{parameter.name}{annotation}{default}"


def _annotation(annotation: Any) -> str:
    """Return a type as it is written: without the paths of modules, which are not public."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", text)


def field_table(value: Any) -> str:
    """Return the table of the fields that have a text: the others say all by name and type."""
    rows = [(f"`{name}`", escape(text)) for name, text in fields_of(value).items() if text] if _is_class(value) else []
    return "\n" + table(("field", "meaning"), rows) if rows else ""


def _is_class(value: Any) -> bool:
    return inspect.isclass(value) and value.__module__.startswith("nexus_")


def _members(value: Any) -> str:
    if not inspect.isclass(value):
        return ""
    rows = []
    for member, function in vars(value).items():
        is_public = inspect.isfunction(function) or isinstance(function, property | classmethod)
        if is_public and not member.startswith("_"):
            rows.append((f"`{member}`", escape((inspect.getdoc(function) or "").split("\n\n")[0])))
    return "\n" + table(("member", "what it does"), rows) if rows else ""


def fields_of(cls: type) -> Mapping[str, str]:
    """Return the public fields of a class with their texts: all of an attrs class, else those that have one."""
    texts = {name: text for base in reversed(cls.__mro__) for name, text in _texts(base)}
    if attrs.has(cls):
        return {field.name: texts.get(field.name, "") for field in attrs.fields(cls) if field.name[0] != "_"}
    return texts


def _texts(cls: type) -> Iterator[tuple[str, str]]:
    if not cls.__module__.startswith("nexus_"):
        return
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    bodies = [inner.body for inner in ast.walk(node) if isinstance(inner, ast.ClassDef | ast.FunctionDef)]
    for field, text in (pair for body in bodies for pair in pairwise(body)):
        match field, text:
            case (
                (ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Attribute(attr=name)])),
                ast.Expr(value=ast.Constant(value=str(said))),
            ):
                yield name, inspect.cleandoc(said)
