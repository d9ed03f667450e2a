"""Values against declared options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import pytest
from attrs import frozen
from hypothesis import given, strategies as st

from nexus_core import option
from nexus_core.config.options import BAD, Options
from nexus_core.config.spec import RecordSpec
from nexus_core.config.yaml.problems import Problems, SourceLocation
from nexus_core.config.yaml.reader import read
from nexus_core.config.yaml.tree import MappingNode
from nexus_core.contract.components import OptionSpec, options_of
from nexus_core.toolkit.secrets import Secret


@frozen(kw_only=True)
class Size:
    """A record."""

    width: int = option(help="In tokens.", ge=1)
    unit: Literal["em", "px"] = option("em", help="The unit.")


def checked(annotation: Any, text: str, **bounds: Any) -> tuple[Any, list[str]]:
    """Return what `v: TEXT` is to an option of this type, and the messages."""
    problems = Problems("f")
    options = Options(problems, lambda node, kind: BAD, lambda cls, at: options_of(cls))
    tree = read(f"v: {text}\n", "f", problems)
    assert isinstance(tree, MappingNode)
    value = options.mapping(tree, [OptionSpec(name="v", annotation=annotation, default=None, **bounds)], "it")
    return value.get("v", BAD), [problem.message for problem in problems.listed()]


SOUND: list[tuple[Any, str, Any]] = [
    (str, "llama3.1", "llama3.1"),
    (str, "'3.1'", "3.1"),
    (str, "yes", "yes"),
    (int, "-3", -3),
    (float, "2", 2.0),
    (float, "1e-3", 0.001),
    (bool, "true", True),
    (Secret, "abc", Secret("abc")),
    (int | None, "", None),
    (str | None, "~", None),
    (Literal["a", "b"], "b", "b"),
    (Literal[1, "1"], "'1'", "1"),
    (tuple[str, ...], "[a, b]", ("a", "b")),
    (tuple[int, ...], "[]", ()),
    (list[float], "[1]", (1.0,)),
    (Mapping[str, int], "{a: 1}", {"a": 1}),
    (dict[str, tuple[str, ...]], "{a: [b]}", {"a": ("b",)}),
    (str | tuple[str, ...], "a", "a"),
    (str | tuple[str, ...], "[a]", ("a",)),
    (int | str, "1", 1),
    (int | str, "x", "x"),
    (Any, "{a: [1, x, null]}", {"a": [1, "x", None]}),
    (Size, "{width: 3}", RecordSpec(cls=Size, fields={"width": 3}, place=SourceLocation("f", 1, 4))),
    (tuple[Size, ...], "[{width: 3, unit: px}]", None),
    ("an unresolved annotation", "[1]", [1]),
]


@pytest.mark.parametrize(("annotation", "text", "value"), SOUND, ids=[f"{a}-{t}" for a, t, _ in SOUND])
def test_option_takes_a_value_of_its_type(annotation: Any, text: str, value: Any) -> None:
    """A value arrives with the type that the option declares."""
    found, messages = checked(annotation, text)
    assert messages == []
    assert value is None or (type(found), found) == (type(value), value)


WRONG: list[tuple[Any, str, dict[str, Any], str]] = [
    (str, "3.1", {}, "`v` must be text, found 3.1: put it in quotes, as in '3.1'"),
    (str, "", {}, "`v` must be text, found nothing"),
    (str, "[a]", {}, "`v` must be text, found a list"),
    (str, "UP", {"pattern": "[a-z]+", "help": "Lower case."}, "`v` must match [a-z]+, found 'UP': lower case"),
    (int, "ten", {}, "`v` must be a whole number, found 'ten'"),
    (int, "1.0", {}, "`v` must be a whole number, found 1.0"),
    (int, "true", {}, "`v` must be a whole number, found true"),
    (int, "'10'", {}, "`v` must be a whole number, found '10': write it without quotes"),
    (float, '"0.15"', {}, "`v` must be a number, found '0.15': write it without quotes"),
    (int, '"0.15"', {}, "`v` must be a whole number, found '0.15'"),
    (float | None, '"0.15"', {}, "`v` must be a number, found '0.15': write it without quotes"),
    (int, "1_000", {}, "`v` must be a whole number, found '1_000': write it in digits only, without leading zeros"),
    (int, "0", {"ge": 1}, "`v` must be at least 1, found 0"),
    (int, "9", {"ge": 1, "le": 3}, "`v` must be from 1 to 3, found 9"),
    (float, "0", {"gt": 0}, "`v` must be more than 0, found 0"),
    (float, "2.5", {"gt": 0, "le": 2}, "`v` must be more than 0 and at most 2, found 2.5"),
    (bool, "yes", {}, "`v` must be true or false, found 'yes', which is a text in YAML 1.2"),
    (bool, "1", {}, "`v` must be true or false, found 1"),
    (Secret, "12345", {}, "`v` must be a secret text, found something else: put it in quotes"),
    (Literal["cut", "skip"], "cutt", {}, "`v` must be cut or skip, found 'cutt', did you mean 'cut'?"),
    (tuple[str, ...], "a", {}, "`v` must be a list of texts, found 'a': write it as a list, ['a']"),
    (tuple[int, ...], "[1, x]", {}, "`v[1]` must be a whole number, found 'x'"),
    (Mapping[str, int], "{a: -1}", {"ge": 0}, "`v.a` must be at least 0, found -1"),
    (Mapping[str, int], "[a]", {}, "`v` must be a mapping of whole numbers, found a list"),
    (int | str, "[a]", {}, "`v` must be a whole number or text, found a list"),
    (Size, "3", {}, "`v` must be a mapping, found 3"),
    (Size, "{unit: em}", {}, "`v` needs `width`: in tokens"),
    (Size, "{width: 1, hight: 2}", {}, "`v` takes no 'hight'; it takes: width and unit"),
    (str, "x", {"pattern": "a{2,1}"}, "the pattern that `v` is declared with is broken (min repeat greater than max "
     "repeat at position 2): tell the plugin's author"),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "text", "bounds", "message"), WRONG, ids=[f"{w[0]}-{w[1]}" for w in WRONG])
def test_option_says_what_it_takes_and_what_it_found(
    annotation: Any, text: str, bounds: dict[str, Any], message: str
) -> None:
    """A message names the option, what it must be, what stands there, and the likely mend."""
    assert checked(annotation, text, **bounds) == (BAD, [message])


def test_option_reads_the_environment_as_text_where_text_is_due(checked: Callable[..., Any]) -> None:
    """A key made of digits is still a key: only the file itself can mean a number."""
    text = "name: x\nmodels:\n  m:\n    use: chat\n    api_key: ${KEY}\n    model: ${M}\nsteps:\n- generate:\n"
    spec = checked(text, {"KEY": "12345", "M": "4"}).spec
    assert spec.models[0].component.options == {"api_key": Secret("12345"), "model": "4"}


def test_quoted_interpolation_says_why_it_is_no_number(checked: Callable[..., Any]) -> None:
    """The quotes that braces make necessary are the common trap."""
    text = "name: x\nmodels: {m: {use: chat, window: '${W}'}}\nsteps:\n- generate:\n"
    (problem,) = checked(text, {"W": "8192"}).problems
    assert problem.message.endswith("found the value of '${W}': without quotes it is read as a number")


def test_secret_never_stands_in_a_message(checked: Callable[..., Any]) -> None:
    """A key of the wrong type is not shown, wherever a secret is due."""
    text = "name: x\nmodels: {m: {use: chat, api_key: 424242, headers: {a: 424242}}}\nsteps:\n- generate:\n"
    problems = checked(text).problems
    assert [problem.code for problem in problems] == ["T001", "T001"]
    assert all("424242" not in problem.message for problem in problems)


ANNOTATIONS = st.sampled_from([annotation for annotation, *_ in SOUND])
VALUES = st.recursive(
    st.sampled_from(["a", "1", "1.5", "true", "null", "'q'", "''"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]")
        | st.lists(inner, max_size=2).map(
            lambda parts: "{" + ", ".join(f"k{n}: {p}" for n, p in enumerate(parts)) + "}"
        )
    ),
    max_leaves=5,
)


@pytest.mark.slow
@given(ANNOTATIONS, VALUES)
def test_option_is_either_sound_or_a_problem(annotation: Any, text: str) -> None:
    """There is no third way, and no exception."""
    value, messages = checked(annotation, text)
    assert (value is BAD) == bool(messages)
