"""What a template must not be able to do: reach an object, read a file, run while it is parsed, take memory or time."""

from __future__ import annotations

from typing import Any

import pytest

from nexus_core.contract.errors import TemplateError
from nexus_core.toolkit.templates.sandbox import check_jinja, sandbox
from nexus_core.toolkit.templates.template import Expression, TextTemplate


class Service:
    """An object with something to lose."""

    api_key = "sk-secret"
    deleted = False

    def delete(self) -> None:
        """Do harm."""
        type(self).deleted = True


class Text(str):
    """A text with methods of its own."""

    __slots__ = ()

    def upper(self) -> str:
        """Give away what it should not."""
        return Service.api_key


BIG = "q" * 2_000_000
DATA: dict[str, Any] = {
    "query": "q",
    "items": [{"number": 1}],
    "inputs": {"a": 1},
    "deep": {"list": [{"service": Service(), "text": Text("x"), "numbers": (number for number in [1])}]},
    "big": BIG,
    "other": BIG[1:] + "x",
}

ESCAPES = [
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ '{0.__class__}'.format('') }}",
    "{{ '{a.__class__}'.format_map({'a': 1}) }}",
    "{{ '%s'|format('x') }}",
    "{{ '%s' % 'x' }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ lipsum.__globals__ }}",
    "{{ joiner.__init__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ namespace(a=1).__class__ }}",
    "{{ range.__globals__ }}",
    "{{ dict(a=1) }}",
    "{{ self }}",
    "{{ self._TemplateReference__context }}",
    "{% for i in [1] %}{{ loop.__class__ }}{% endfor %}",
    "{% for i in [1] %}{{ loop._iterable }}{% endfor %}",
    "{% for i in [1] %}{{ loop }}{% endfor %}",
    "{{ items.append(1) }}",
    "{{ inputs.update({'a': 2}) }}",
    "{{ inputs.pop('a') }}",
    "{{ inputs.__getattribute__('x') }}",
    "{{ inputs['__class__'] }}",
    "{{ items[0].__class__ }}",
    "{{ (1).__class__ }}",
    "{{ (1.5).hex() }}",
    "{{ query.encode() }}",
    "{{ query.translate({}) }}",
    "{{ query.upper.__self__ }}",
    "{{ query.upper.__func__ }}",
    "{{ items|map(attribute='number')|list }}",
    "{{ items|selectattr('number')|list }}",
    "{{ items|groupby('number') }}",
    "{{ items|pprint }}",
    "{{ 'x'|safe }}",
    "{{ 'x'|xmlattr }}",
    "{{ 'upper' is filter }}",
    "{{ query is callable }}",
    "{% import 'os' as os %}",
    "{% from 'os' import path %}",
    "{% include '/etc/passwd' %}",
    "{% extends 'base' %}",
    "{% block a %}{% endblock %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% call x() %}{% endcall %}",
    "{% autoescape true %}x{% endautoescape %}",
    "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{% do 1 %}",
    "{{ deep.list[0].service.api_key }}",
    "{{ deep.list[0].service['api_key'] }}",
    "{{ deep.list[0].service.delete() }}",
    "{{ deep.list[0].service }}",
    "{{ deep.list[0].service ~ '' }}",
    "{{ deep.list[0].service|string }}",
    "{{ deep.list[0].values()|join }}",
    "{{ deep|tojson }}",
    "{% for part in deep.list[0].service %}{% endfor %}",
    "{% for k, v in deep.list[0].items() %}{{ v.api_key }}{% endfor %}",
    "{% set ns = namespace() %}{% set ns.s = deep.list[0].service %}{{ ns.s.api_key }}",
    "{% set f = '{0.__class__}'.format %}{{ f('') }}",
    "{{ items|join(attribute='number.__class__') }}",
    "{{ query.__class__.__init_subclass__() }}",
    "{{ namespace(a=1)._Namespace__attrs }}",
    "{% set ns = namespace() %}{% set ns.__class__ = 1 %}{{ ns }}",
    "{% set inputs.a = 2 %}",
    "{{ joiner()() }}",
    "{% for i in [1] %}{{ loop.cycle.__self__ }}{% endfor %}",
    "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
    "{{ items|' weighed' }}",
    "{{ inputs.nope.__class__ }}",
    "{{ await query }}",
    "{% filter attr('x') %}{% endfilter %}",
    "{{ deep.list[0].text }}",
    "{{ deep.list[0].text.upper() }}",
    "{{ deep.list[0].text|upper }}",
    "{{ deep.list[0].numbers|list }}",
    "{{ deep.list[0].numbers.gi_frame }}",
]

WIDE = "{{% set t = ((1, 2)[:1] * 9000,) * 9000 %}}{{% set u = ((1, 2)[:1] * 9000,) * 9000 %}}{}"
MANY = "{{% set many = [big] * 900 %}}{}"

GROW = "{{% set ns = namespace(x={}) %}}{{% for a in range(60) %}}{{% set ns.x = {} %}}{{% endfor %}}{}"

BOMBS = {
    "power": "{{ 2 ** 100000000 }}",
    "repeat text": "{{ 'A' * 100000000 }}",
    "repeat the other way": "{{ 100000000 * 'A' }}",
    "repeat list": "{{ [0] * 100000000 }}",
    "text format": "{{ '%100000000d' % 1 }}",
    "center filter": "{{ 'a'|center(100000000) }}",
    "center": "{{ 'a'.center(100000000) }}",
    "zfill": "{{ 'a'.zfill(100000000) }}",
    "wordwrap": "{{ ('a' * 100000)|wordwrap(1) }}",
    "indent": "{{ 'a'|indent(100000000) }}",
    "join": "{{ range(10000)|join('x' * 100000) }}",
    "join method": "{{ 'x'.join(['a', 'b']) }}",
    "replace": "{{ ('a' * 100000)|replace('a', 'b' * 100000) }}",
    "replace method": "{{ query.replace('q', 'b') }}",
    "range": "{{ range(1000000000) }}",
    "round": "{{ 5|round(-1000000000) }}",
    "tojson": "{{ 1|tojson(indent=1000000000) }}",
    "loops printing": "{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}",
    "loops doing nothing": "{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}",
    "loops calculating": "{% for a in range(999) %}{% for b in range(999) %}{% set x = a*b %}{% endfor %}{% endfor %}",
    "loop with a large body": "{% for a in range(10000) %}" + "{{ 1 }}" * 400 + "{% endfor %}",
    "loop with much text": "{% for a in range(10000) %}" + "x" * 60_000 + "{% endfor %}",
    "loop printing a long text": "{% for a in range(10000) %}{{ big }}{% endfor %}",
    "loop copying a long text": "{% for a in range(10000) %}{% set x = big|upper %}{% endfor %}",
    "loop copying by method": "{% for a in range(10000) %}{% set x = big.upper() %}{% endfor %}",
    "loop slicing a long text": "{% for a in range(10000) %}{% set x = big[1:] %}{% endfor %}",
    "loop searching a long text": "{% for a in range(10000) %}{% if 'zq' in big %}{% endif %}{% endfor %}",
    "loop comparing long texts": "{% for a in range(10000) %}{% if big == other %}{% endif %}{% endfor %}",
    "text doubled by ~": GROW.format("'ab'", "ns.x ~ ns.x", "{{ ns.x }}"),
    "text doubled by +": GROW.format("'ab'", "ns.x + ns.x", "{{ ns.x }}"),
    "text doubled by join": GROW.format("'ab'", "[ns.x, ns.x]|join", "{{ ns.x }}"),
    "list doubled": GROW.format("[1]", "ns.x + ns.x", "{{ ns.x|length }}"),
    "nested lists": GROW.format("[1]", "[ns.x, ns.x]", "{{ ns.x|tojson }}"),
    "nested tuples": GROW.format("[1]", "(ns.x, ns.x)", "{{ ns.x|tojson }}"),
    "nested mappings": GROW.format("{}", "{'a': ns.x, 'b': ns.x}", "{{ ns.x|tojson }}"),
    "large number": GROW.format("3", "ns.x * ns.x", "{{ ns.x }}"),
    "strip": "{% set x = big.strip('x' * 100000 + 'q') %}",
    "ljust": "{{ 'a'.ljust(100000000) }}",
    "format width": "{{ '{:>100000000}'.format(1) }}",
    "truncate end": "{{ big|truncate(9, end=big * 9) }}",
    "lipsum": "{{ lipsum(n=100000) }}",
    "long text often as JSON": MANY.format("{% set x = many|tojson %}"),
    "long key often as JSON": "{% set x = ([{big: 1}] * 900)|tojson %}",
    "long text often joined": MANY.format("{% set x = many|join %}"),
    "long text often counted": MANY.format("{% set x = many.count(other) %}"),
    "long text often looked for": MANY.format("{% set x = (many + [other]).index(other) %}"),
    "long text often in": MANY.format("{% if other in many %}{% endif %}"),
    "long text often sorted": "{% set x = ([big, other] * 900)|sort %}",
    "long text often made unique": "{% set x = ([big, big[1:] + 'q'] * 900)|unique %}",
    "long text often a start": "{% set x = big.startswith((other,) * 900) %}",
    "text in ranges": "{% for a in range(9999) %}{% if 'a' in range(9999) %}{% endif %}{% endfor %}",
    "wide key looked up": WIDE.format("{% set x = inputs[t] %}"),
    "wide key got": WIDE.format("{% set x = inputs.get(t) %}"),
    "wide key written": WIDE.format("{% set x = {t: 1} %}"),
    "wide lists compared": WIDE.format("{% if t == u %}{% endif %}"),
    "wide list changed": WIDE.format("{% for i in [1, 2] %}{% set x = loop.changed(t) %}{% endfor %}"),
    "deep tuple hashed": GROW.replace("60", "9999").format("()", "(ns.x,)", "{{ inputs.get(ns.x) }}"),
    "deep parentheses": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "deep lists": "{{ " + "[" * 3000 + "]" * 3000 + " }}",
    "many minus signs": "{{ " + "-" * 3000 + "1 }}",
    "many ors": "{{ " + " or ".join(["1"] * 500) + " }}",
    "deep ifs": "{% if 1 %}" * 200 + "{% endif %}" * 200,
    "deep loops": "{% for a in [1] %}" * 30 + "{% endfor %}" * 30,
    "many parts": "{{ 1 }}" * 3000,
    "long number": "{{ " + "9" * 5000 + " }}",
    "long source": "x" * 70_000,
}


@pytest.mark.parametrize("source", ESCAPES)
def test_sandbox_refuses_an_escape(source: str) -> None:
    """Nothing but plain data and a fixed list of names can be reached; nothing is changed."""
    with pytest.raises(TemplateError) as caught:
        TextTemplate.parse(source, "t").render(DATA)
    assert "sk-secret" not in str(caught.value)
    assert (DATA["items"], DATA["inputs"], Service.deleted) == ([{"number": 1}], {"a": 1}, False)


@pytest.mark.parametrize("source", BOMBS.values(), ids=BOMBS)
def test_sandbox_refuses_a_bomb(source: str) -> None:
    """What would take memory or time without bound is stopped: this module would not end otherwise."""
    with pytest.raises(TemplateError):
        TextTemplate.parse(source, "t").render(DATA)


CONSTANT = ["('a' * 99999)|upper|lower", "99999 * 'x'", "range(10000)|join('y' * 1000)", "'a'|upper", "[1]|first|abs"]
CONSTANT += ["'a'.upper()", "'a' is string", "{[]: 1}"]


@pytest.mark.parametrize("expression", CONSTANT)
@pytest.mark.parametrize(
    "frame", ["{{{{ {} }}}}", "{{% if {} %}}{{% endif %}}", "{{% set x = {} %}}"], ids=["out", "if", "set"]
)
def test_sandbox_runs_nothing_while_parsing(expression: str, frame: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsing folds no constants: no filter, test, call or operator runs; Jinja would hide that one fails."""
    ran: list[object] = []
    environment = sandbox()
    for name in ("call", "call_binop", "getattr"):
        monkeypatch.setattr(type(environment), name, lambda *_: ran.append(1))
    monkeypatch.setattr(environment, "filters", dict.fromkeys(environment.filters, ran.append))
    monkeypatch.setattr(environment, "tests", dict.fromkeys(environment.tests, ran.append))
    TextTemplate.parse(frame.format(expression), "t")
    Expression.parse(frame.format(expression))
    assert ran == []


@pytest.mark.parametrize(
    "source",
    ["{{ [query.upper] }}", "{{ [inputs.keys()] }}", "{{ [range(3)] }}", "{{ [deep.list[0].service] }}",
     "{{ deep.list[0:1] }}", "{{ [inputs.nope] }}", "{{ inputs.pop }}", "{{ [[0] * 9000] * 90000 }}"],
)  # fmt: skip
def test_expression_gives_plain_data_to_the_last_value(source: str) -> None:
    """No object leaves the sandbox in a list, nothing unfinished, and nothing that would fill memory as JSON."""
    with pytest.raises(TemplateError, match="no plain data|there is no|is unsafe|values in it"):
        Expression.parse(source).evaluate(DATA)


@pytest.mark.parametrize(
    "variables",
    [{"query": Service()}, {"items": [Service()]}, {"inputs": {"a": Service()}}, {"query": {1, 2}}, {"query": b"x"}],
)
def test_template_refuses_objects_as_variables(variables: dict[str, Any]) -> None:
    """Variables are plain JSON data; an object is an error where it is bound, used or not."""
    with pytest.raises(TemplateError, match=r"variables hold plain JSON data only, no (Service|set|bytes)"):
        TextTemplate.parse("x{% if true %}{% endif %}", "t").render(variables)


def test_template_stops_an_output_beyond_any_window() -> None:
    """Over 8 Mi characters no model takes."""
    template = TextTemplate.parse("[system]\n{{ big }}{{ big }}\n[user]\n{{ big }}{{ big }}{{ big }}", "t")
    with pytest.raises(TemplateError, match=r"t: the prompt would have 10,000,000 characters, more than 8,388,608"):
        template.render(DATA)


def test_template_renders_a_prompt_of_a_million_tokens() -> None:
    """The bounds leave room for the largest windows there are."""
    items = [{"number": number, "title": "A title", "text": "word " * 190} for number in range(5_000)]
    template = TextTemplate.parse(
        "{% for i in items %}\n[{{ i.number }}] {{ i.title }}\n{{ i.text|trim }}\n\n{% endfor %}", "t"
    )
    assert len(template.render({"items": items})[0].content) > 4_700_000


@pytest.mark.parametrize("version", ["3.1.5", "2.11.3", "3.0"])
def test_sandbox_refuses_a_jinja_with_known_holes(version: str) -> None:
    """The floor is checked when the sandbox is made, not only when it is installed."""
    with pytest.raises(ImportError, match=r"install jinja2>=3\.1\.6"):
        check_jinja(version)


@pytest.mark.parametrize("version", ["3.1.6", "3.2.0", "4.0", None])
def test_sandbox_takes_newer_jinja(version: str | None) -> None:
    """Later versions are fine, also one that no longer says which it is."""
    check_jinja(version)
