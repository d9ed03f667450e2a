"""Steps: verbs, modifiers, prompts, expressions and orders."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import asdict

from nexus_core.config.check import Checked
from nexus_core.config.keys import PromptKeys, keys_of
from nexus_core.config.spec import ComponentSpec, PromptSpec, StepSpec, TemplateFile, TemplateText

HEAD = "name: x\nmodels: {m: chat}\ninputs: {tone: plain}\nsteps:\n"


def steps(checked: Callable[..., Checked], text: str) -> tuple[StepSpec, ...]:
    """Return the steps of a text without problems."""
    result = checked(HEAD + text)
    assert [str(problem) for problem in result.problems] == []
    assert result.spec is not None
    return result.spec.steps


def codes(checked: Callable[..., Checked], text: str) -> list[str]:
    """Return the codes of the problems of steps."""
    return [problem.code for problem in checked(HEAD + text).problems]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5.0), ("0.5", 0.5), ("500ms", 0.5), ("30s", 30.0), ("2m", 120.0), ("1.5h", 5400.0), ("2 m", 120.0)],
)
def test_timeout_is_seconds_or_a_duration(text: str, seconds: float, checked: Callable[..., Checked]) -> None:
    """Numbers are seconds; a unit makes them what it says."""
    assert steps(checked, f"- generate:\n  timeout: {text}\n")[0].timeout_s == seconds


@pytest.mark.parametrize(
    ("text", "code"), [("0", "T002"), ("-1", "T002"), ("0s", "T004"), ("1w", "T004"), ("true", "T001")]
)
def test_timeout_is_more_than_nothing(text: str, code: str, checked: Callable[..., Checked]) -> None:
    """A step that may take no time can only fail."""
    assert codes(checked, f"- generate:\n  timeout: {text}\n") == [code]


WHEN: dict[str, str | None] = {
    '"{{ items }}"': "{{ items }}",
    "'{{ inputs.tone == \"x\" }}'": '{{ inputs.tone == "x" }}',
    "true": None,
    "": None,
    "false": "{{ false }}",
    "3": "T001",
    "items": "T004",
    "'{{ items }} or {{ query }}'": "T004",
    "'{{ query | nope }}'": "X001",
    "'{{a}}'": "X002",
    "'{{ inputs.tune }}'": "X003",
    "'{{ vars.late }}'": "X004",
}


@pytest.mark.parametrize(("text", "when"), WHEN.items(), ids=list(WHEN))
def test_when_is_one_expression_or_a_constant(text: str, when: str | None, checked: Callable[..., Checked]) -> None:
    """It is parsed, and what it names must be there, before anything runs."""
    source = f"- generate:\n  when: {text}\n  as: late\n"
    if when and len(when) == 4:
        assert codes(checked, source) == [when]
    else:
        assert steps(checked, source)[0].when == when


def test_variables_are_known_from_the_step_after_the_one_that_keeps_them(checked: Callable[..., Checked]) -> None:
    """`as` reaches forwards only."""
    step = "- generate:\n  as: a\n  into: query\n"
    assert codes(checked, step + "- generate:\n  when: '{{ vars.a }}'\n") == []
    assert codes(checked, "- generate:\n  when: '{{ vars.a }}'\n" + step + "- generate:\n") == ["X004"]


def test_prompt_has_the_declared_defaults(checked: Callable[..., Checked]) -> None:
    """A template alone is a prompt; each default stands once, in the declaration."""
    step = steps(checked, "- prompt: answers\n- generate:\n")[0]
    assert isinstance(step, PromptSpec)
    for key in keys_of(PromptKeys):
        assert key.required or getattr(step, key.name) == key.default


def test_prompt_keys_are_the_fields_of_its_specification() -> None:
    """Nothing is declared that does not arrive, and nothing arrives undeclared."""
    common = {"index", "path", "as_name", "when", "timeout_s", "place"}
    fields = {field.name for field in PromptSpec.__attrs_attrs__}
    assert {key.name for key in keys_of(PromptKeys)} == fields - common


def test_template_may_be_a_name_a_component_a_file_or_a_text(checked: Callable[..., Checked], tmp_path: Path) -> None:
    """Four ways to say where the words come from."""
    (tmp_path / "own.jinja").write_text("{{ query }}")
    forms = ["answers", "{use: answers, tone: dry}", "./own.jinja", "own.jinja", "{text: '{{ query }}'}"]
    found: list[Any] = []
    for form in forms:
        step = steps(checked, f"- prompt: {{template: {form}}}\n- generate:\n")[0]
        assert isinstance(step, PromptSpec)
        found.append(step.template)
    assert [type(template) for template in found] == [
        ComponentSpec,
        ComponentSpec,
        TemplateFile,
        TemplateFile,
        TemplateText,
    ]
    assert asdict(found[2]) == {"path": str(tmp_path / "own.jinja"), "text": "{{ query }}"}


def test_template_file_may_stand_outside_the_folder(checked: Callable[..., Checked], tmp_path: Path) -> None:
    """Templates are text and may be shared between folders of pipelines; plugins are code and may not."""
    (tmp_path.parent / "other.j2").write_text("{{ query }}")
    assert codes(checked, "- prompt: ../other.j2\n- generate:\n") == []


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("./gone.jinja", None, "X006"),
        ("./bytes.jinja", b"\xff", "X006"),
        ("./large.jinja", b"a" * 70_000, "X006"),
        ("/etc/hosts.jinja", None, "X006"),
        ("./syntax.jinja", b"{% if %}", "X001"),
        ("./tone.jinja", b"{{ tone }}", "X007"),
        ("./input.jinja", b"{{ inputs.nope }}", "X003"),
        ("./kept.jinja", b"{{ vars.nope }}", "X004"),
        ("./optional.jinja", b"{{ tone|default('x') }}", ""),
    ],
)
def test_template_file_is_read_and_parsed(
    name: str, content: bytes | None, code: str, checked: Callable[..., Checked], tmp_path: Path
) -> None:
    """What is wrong with a template is found before anything runs."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert codes(checked, f"- prompt: {name}\n- generate:\n") == ([code] if code else [])


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ("{tone: 1}", ""),
        ("{tone: '{{ inputs.tone }}'}", ""),
        ("{tone: 'so {{ query }}!'}", ""),
        ("{tone: '{{ inputs.nope }}'}", "X003"),
        ("{tone: '{{ nope }}'}", "X002"),
        ("{tone: {deep: '{{ query }}'}}", "X005"),
        ("{tone: ['{{ query }}']}", "X005"),
        ("{ton: 1}", "X007"),
        ("{tone: 1, query: 2}", "N005"),
        ("{tone: 1, 'a b': 2}", "N005"),
        ("[tone]", "T001"),
    ],
)
def test_prompt_variables_are_values_or_expressions(variables: str, code: str, checked: Callable[..., Checked]) -> None:
    """A text of its own may be an expression; deeper ones are data."""
    text = f"- prompt: {{template: {{text: '{{{{ tone }}}}'}}, variables: {variables}}}\n- generate:\n"
    found = [problem for problem in codes(checked, text) if problem not in ("X007", "X008") or problem == code]
    assert found == ([code] if code else [])


def test_component_template_must_be_given_what_it_requires(checked: Callable[..., Checked]) -> None:
    """A class says by `required_variables` what it cannot do without."""
    assert codes(checked, "- prompt: {template: summary, variables: {length: 3}}\n- generate:\n") == []
    assert codes(checked, "- prompt: summary\n- generate:\n") == ["X007"]


@pytest.mark.parametrize(
    ("text", "severity"),
    [
        ("- gather: {use: notes, items: [{text: '{{ x }}'}]}\n- prompt: answers\n- generate:\n", "warning"),
        ("- prompt: {template: {use: answers, tone: '{{ x }}'}}\n- generate:\n", "warning"),
        ("- rank: {use: words, language: '{{ x }}'}\n- prompt: answers\n- generate:\n", "error"),
        ("- prompt: {template: answers, pin: ['{{ x }}']}\n- generate:\n", "error"),
        ("- generate: {options: {extra: {'{{ x }}': 1}}}\n", "error"),
    ],
    ids=["source", "template", "ranker", "pin", "key"],
)
def test_stray_expression_is_found(text: str, severity: str, checked: Callable[..., Checked]) -> None:
    """Braces that nobody evaluates are a mistake, except perhaps in texts for a source or template."""
    found = [problem.severity for problem in checked(HEAD + text).problems if problem.code == "X005"]
    assert found == [severity]


ORDERS = {
    "gather rank prompt generate": "",
    "generate": "",
    "prompt generate prompt generate": "",
    "gather gather rank rank prompt generate": "",
    "gather rank! gather prompt generate": "",
    "gather rank gather? prompt generate": "",
    "rank prompt generate": "",
    "prompt generate> gather rank prompt generate": "",
    "prompt prompt? generate": "",
    "prompt rank! generate": "",
    "gather prompt generate rank": "O002",
    "gather prompt rank generate": "O002",
    "prompt gather generate": "O002",
    "prompt prompt generate": "O003",
    "prompt? prompt generate": "O003",
    "rank gather prompt generate": "O004",
    "gather rank gather rank prompt generate": "O004",
    "prompt generate>": "O005",
    "gather prompt": "O006",
    "generate prompt": "O006",
    "gather rank generate": "O007",
    "gather? generate": "",
    "gather rank": "O008",
}


@pytest.mark.parametrize("order", ORDERS)
def test_order_in_which_a_step_has_no_effect_is_a_problem(order: str, checked: Callable[..., Checked]) -> None:
    """`!` keeps the result, `?` makes it conditional, `>` makes it the query."""
    bodies = {"gather": "notes", "rank": "words", "prompt": "answers", "generate": "m"}
    marks = {"!": "\n  as: kept", "?": "\n  when: '{{ query }}'", ">": "\n  into: query"}
    lines = [f"- {word.strip('!?>')}: {bodies[word.strip('!?>')]}{marks.get(word[-1], '')}\n" for word in order.split()]
    found = [code for code in codes(checked, "".join(lines)) if code != "N004"]
    assert found == ([ORDERS[order]] if ORDERS[order] else [])


COMPOSED = {
    "gather choose(rank|) prompt generate": "",
    "gather choose(prompt generate|generate)": "",
    "gather rank choose(gather|prompt generate) prompt generate": "",
    "rank choose(gather|gather) prompt generate": "O004",
    "rank choose?(gather|gather) prompt generate": "",
    "prompt choose(gather|rank) generate": "O002 O002",
    "prompt choose(prompt|generate) generate": "",
    "prompt choose(prompt|prompt) generate": "O003",
    "choose(generate>|prompt generate)": "O005",
    "choose(generate>|prompt generate) generate": "",
    "choose(prompt|generate)": "O006",
    "choose(gather|rank) prompt generate": "",
    "rank together(gather gather) prompt generate": "O004",
    "rank together(gather? gather) prompt generate": "O004",
    "rank together(gather? gather?) prompt generate": "",
    "prompt together(gather gather) generate": "O002",
    "gather prompt together(rank! rank) generate": "",
    "together(gather gather) generate": "O007",
    "rank call prompt generate": "O004",
    "prompt call generate": "O002",
    "together(gather) choose(rank|)": "O008",
}


@pytest.mark.parametrize("order", COMPOSED)
def test_orders_are_judged_on_every_way_through_the_steps(
    order: str, checked: Callable[..., Checked], tmp_path: Path
) -> None:
    """A mistake is one that is made whatever is chosen; `|` stands between branches, the last one without a `when`."""
    (tmp_path / "items.yaml").write_text("name: items\nsteps:\n- gather: notes\n")
    bodies = {"gather": "notes", "rank": "words", "prompt": "answers", "generate": "m"}
    marks = {"!": ", as: kept", "?": ", when: '{{ query }}'", ">": ", into: query"}

    def step(word: str) -> str:
        verb, mark = word.rstrip("!?>"), marks.get(word[-1], "")
        return f"{{{verb}: {bodies.get(verb, '{pipeline: ./items.yaml, take: items}')}{mark}}}"

    def steps(text: str) -> str:
        found = re.findall(r"(\w+\??)\(([^)]*)\)|([\w!?>]+)", text)
        return "[" + ", ".join(composed(verb, inner) if verb else step(word) for verb, inner, word in found) + "]"

    def composed(verb: str, inner: str) -> str:
        mark = ", when: '{{ query }}'" if verb.endswith("?") else ""
        if verb == "together":
            return f"{{together: {steps(inner)}}}"
        *ways, last = inner.split("|")
        branches = [f"{{when: '{{{{ query }}}}', steps: {steps(way)}}}" for way in ways]
        branches += [f"{{steps: {steps(last)}}}"] if last else []
        return f"{{choose: [{', '.join(branches)}]{mark}}}"

    text = f"name: x\nmodels: {{m: chat}}\nsteps: {steps(order)}\n"
    found = [problem.code for problem in checked(text).problems if problem.code != "N004"]
    assert found == COMPOSED[order].split()


@pytest.mark.parametrize(
    ("steps", "code", "message"),
    [
        ("- choose: []", "O001", "`choose` is empty: add at least"),
        ("- choose: x", "T001", "`choose` must be a list"),
        ("- choose: [generate]", "T001", "a branch is a mapping, as in"),
        ("- choose: [{when: x, steps: [generate: m]}]", "T004", "`when` must be one expression"),
        ("- choose: [{steps: []}]", "O001", "`steps` is empty: add a step"),
        ("- choose: [{when: true}]", "S003", "steps[0].choose[0] needs `steps`"),
        ("- choose: [{steps: [generat: m]}]", "S002", "steps[0].choose[0].steps[0] takes no 'generat'"),
        ("- {choose: [{steps: [generate: m]}], as: a}", "S005", "a choose step takes no `as`"),
        ("- {choose: [{steps: [generate: m]}], timeout: 3}", "S005", "a choose step takes no `timeout`"),
        ("- {together: [gather: notes], as: a}", "S005", "a together step takes no `as`"),
        ("- together: []", "O001", "`together` is empty: add at least two gather or rank steps"),
        ("- together: [{gather: {use: files}}]", "S003", "source 'files' needs `paths`"),
        ("- call: {take: items}", "S003", "steps[0] (call) needs `pipeline`"),
        ("- call: [x]", "T001", "`call` must be a pipeline's file"),
        ("- call: ./items.yaml", "S003", "steps[0] (call) keeps its answer nowhere: add `as: name`"),
        ("- call: {pipeline: ./items.yaml, take: item}", "T003", "did you mean 'items'?"),
        ("- call: {pipeline: ./items.yaml, take: items, query: '{{ vars.a }}'}", "X004", "no earlier step keeps 'a'"),
        ("- call: {pipeline: ./items.txt, take: items}", "C001", "there is no such file"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_steps_within_steps_is_told_by_their_path(
    steps: str, code: str, message: str, checked: Callable[..., Checked], tmp_path: Path
) -> None:
    """As for steps of the top level."""
    (tmp_path / "items.yaml").write_text("name: items\nmodels: {m: chat}\nsteps:\n- gather: notes\n- generate: m\n")
    problems = checked(f"name: x\nmodels: {{m: chat}}\nsteps:\n{steps}\n- generate: m\n").problems
    assert any(problem.code == code and message in problem.message for problem in problems), problems


def test_what_a_branch_or_a_part_keeps_is_known_after_it_and_not_in_its_neighbours(
    checked: Callable[..., Checked],
) -> None:
    """A branch knows what its own steps keep, and a part nothing of the others."""
    text = """name: x
models: {m: chat}
steps:
- choose:
  - when: "{{ query }}"
    steps:
    - {gather: notes, as: a}
    - {rank: words, when: "{{ vars.a }}", as: b}
  - steps: [{gather: notes, when: "{{ vars.b }}"}]
- together:
  - {gather: notes, as: c}
  - {gather: notes, when: "{{ vars.c }}"}
- {generate: m, when: "{{ vars.a or vars.c }}"}
"""
    found = [(problem.line, problem.code) for problem in checked(text).problems]
    assert found == [(9, "X004"), (12, "X004")]


SLIPPED = {
    "- gather:\n  use: files\n  paths: docs\n": ["use", "paths"],
    "- gather: {use: files}\n  paths: docs\n": ["paths"],
    "- rank: words\n  top: 2\n": ["top"],
    "- prompt:\n  template: qa\n  budget: 2000\n": ["template", "budget"],
    "- prompt: qa\n  budget: 2000\n": ["budget"],
    "- generate: m\n  options: {temperature: 1}\n": ["options"],
}


@pytest.mark.parametrize("text", SLIPPED)
def test_options_that_slipped_out_belong_under_their_verb(text: str, checked: Callable[..., Checked]) -> None:
    """Each is told where to indent it to; what no verb takes is told so."""
    verb = text.partition(":")[0].removeprefix("- ")
    found = [str(problem) for problem in checked(HEAD + text).problems if problem.code == "S002"]
    for key, message in zip(SLIPPED[text], found, strict=True):
        assert f"`{key}` belongs to `{verb}`, not to the step: indent it under `{verb}`" in message
    assert "takes no 'nothing'" in str(checked(f"{HEAD}{text}  nothing: 1\n").problems)
