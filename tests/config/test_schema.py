"""The JSON Schema says what the check says, as far as a schema can."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from nexus_core.config.check import Checked
from nexus_core.config.schema import schema
from nexus_core.config.yaml.problems import Problems
from nexus_core.config.yaml.reader import read
from nexus_core.config.yaml.tree import plain
from nexus_core.contract.components import Kind

pytestmark = pytest.mark.slow

Components = Mapping[Kind, Mapping[str, type]]


@pytest.fixture
def validator(components: Components) -> Draft202012Validator:
    return Draft202012Validator(schema(components))


def data(text: str) -> Any:
    """Return a file as an editor sees it: before the environment is read."""
    tree = read(text, "f", Problems("f"))
    assert tree is not None
    return plain(tree)


GOOD = {
    "short": "name: x\nmodels: {m: chat}\nsteps:\n- generate:\n",
    "environment": "name: x\nmodels: {m: {use: chat, window: 1}}\nsteps:\n- gather: {use: files, paths: [a]}\n"
    "- rank: {use: words, top: $N}\n- prompt: {template: answers, budget: $N, unit: $U}\n- generate:\n  timeout: $N\n",
    "component from environment": "name: x\nmodels: {m: chat}\nsteps:\n- rank: $R\n- prompt: ./t.jinja\n- generate:\n",
    "modifiers": "name: x\nmodels: {m: chat}\nsteps:\n- rank: words\n  as: a\n  when: true\n  timeout: 2m\n"
    "- prompt: {template: {text: hi}}\n- generate: {model: m, options: {stop: x}}\n  when: '{{ items }}'\n",
    "plugin files": "name: x\nplugins: [./mine.py]\nmodels: {m: chat}\nsteps:\n- rank: mine\n"
    "- rank: {use: fuse, rankers: [{use: mine}]}\n- prompt: answers\n- generate:\n",
    "attempts": "name: x\nmodels: {m: {use: chat, retry: {attempts: $N, first_wait: 500ms, longest_wait: $N}, breaker: "
    "{share: 0.4, open: $N}, limits: {concurrency: $N}}, n: {use: chat, retry: false, breaker: true, fallback: m}}\n"
    "calls: {deadline: 2 m, patience: $N}\non_stream_failure: $F\nsteps:\n- generate: n\n",
    "composition": "name: x\nmodels: {m: chat}\nsteps:\n- choose:\n  - {when: '{{ query }}', steps: [gather: notes]}\n"
    "  - {when: true, steps: [{choose: [{steps: [{rank: words, as: a}]}]}]}\n- {together: [{gather: notes, as: b}, "
    "{gather: notes, when: true}], timeout: $N}\n- call: {pipeline: ./items.yaml, query: 'a {{ query }}', take: items}"
    "\n- {call: ./other.yaml, as: c}\n- prompt: answers\n- generate:\n",
    "inputs": "name: x\ninputs: {a: 1, b: , c: {required: true, description: d}}\n"
    "models: {m: chat}\nsteps:\n- generate:\n",
}


@pytest.mark.parametrize("name", [*GOOD, "full"])
def test_schema_accepts_what_the_check_accepts(
    name: str, full: str, validator: Draft202012Validator, checked: Callable[..., Checked], tmp_path: Path
) -> None:
    """A sound pipeline is green in the editor too."""
    (tmp_path / "mine.py").write_text("")
    (tmp_path / "t.jinja").write_text("{{ query }}")
    (tmp_path / "other.yaml").write_text(GOOD["short"])
    (tmp_path / "items.yaml").write_text("name: items\nsteps:\n- gather: notes\n")
    text = full if name == "full" else GOOD[name]
    for variable, value in {"$N": "5", "$U": "item", "$R": "words", "$F": "restart"}.items():
        text = text.replace(variable, value)
    assert checked(text).spec is not None
    assert [error.message for error in validator.iter_errors(data(text))] == []


@pytest.mark.parametrize("name", GOOD)
def test_schema_accepts_the_environment_wherever_a_value_stands(name: str, validator: Draft202012Validator) -> None:
    """What `${NAME}` will be is not known to an editor."""
    document = data(GOOD[name].replace("$N", "N").replace("$U", "U").replace("$R", "R").replace("$F", "F"))
    replaced = _map(document, {"N": "${N}", "U": "${U:-item}", "R": "${R:-words}", "F": "${F}"})
    assert [error.message for error in validator.iter_errors(replaced)] == []


def _map(value: Any, changes: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _map(inner, changes) for key, inner in value.items()}
    if isinstance(value, list):
        return [_map(inner, changes) for inner in value]
    return changes.get(value, value) if isinstance(value, str) else value


MUTATIONS = [
    ("name: handbook", "nmae: handbook"),
    ("name: handbook", "name: two words"),
    ("name: handbook\n", ""),
    ("use: chat, model: big", "use: caht, model: big"),
    ("use: chat, model: big", "use: chat, modle: big"),
    ("use: chat, model: big", "model: big"),
    ("window: 8192", "window: big"),
    ("window: 8192", "window: 0"),
    ("temperature: 0", "temperature: 9"),
    ("temperature: 0", "temprature: 0"),
    ("tiny: chat", "tiny: 3"),
    ("tone: friendly", "tone: [friendly]"),
    ("default: staff", "defalt: staff"),
    ("- gather:", "- gathr:"),
    ("- gather:", "- rank: words\n    gather:"),
    ("  - gather:", "  - choose: [{when: 3, steps: [rank: words]}]\n  - gather:"),
    ("  - gather:", "  - choose: [{step: [rank: words]}]\n  - gather:"),
    ("  - gather:", "  - choose: [{steps: [rank: wrods]}]\n  - gather:"),
    ("  - gather:", "  - together: [prompt: answers]\n  - gather:"),
    ("  - gather:", "  - {together: [gather: notes], as: a}\n  - gather:"),
    ("  - gather:", "  - call: {pipeline: ./other.txt, take: items}\n  - gather:"),
    ("  - gather:", "  - call: {pipeline: ./other.yaml, take: item}\n  - gather:"),
    ('paths: ["docs/**/*.md"]', "paths: docs"),
    (', paths: ["docs/**/*.md"]', ""),
    ("into: query", "into: answer"),
    ("timeout: 30s", "timeout: soon"),
    ("timeout: 30s", "timeout: -1"),
    ("as: rewritten", "as: re-written"),
    ("rankers: [words,", "rankers: [wrods,"),
    ("top: 5", "top: 0"),
    ("top: 5", "tpo: 5"),
    ("use: fuse\n", "use: fuse\n      first: 3\n"),
    ('when: "{{ items }}"', "when: items"),
    ("budget: 6000", "budget: -1"),
    ("budget: 6000", "budgte: 6000"),
    ("order: best_last", "order: best"),
    ('pin: [intro, "rules/*"]', "pin: intro"),
    ('{"docs/*": 500}', '{"docs/*": 0}'),
    ("template: answers", "template: answer"),
    ("template: answers", "template: {use: answers, tune: x}"),
    ("- generate:\nsinks", "- generate: 3\nsinks"),
    ("use: log, path: runs.jsonl", "use: log"),
    ("sinks:\n", "sinks: x\nsinkz:\n"),
    ("first_wait: 500ms", "first_wait: soon"),
    ("first_wait: 500ms", "first_wait: -1"),
    ("retry: {attempts: 2", "retry: {attempts: 0"),
    ("retry: {attempts: 2", "retry: {attemps: 2"),
    ("failures: 3", "failures: many"),
    ("concurrency: 4", "concurrency: 1.5"),
    ("concurrency: 4", "concurency: 4"),
    ("deadline: 60s", "deadline: 0"),
    ("deadline: 60s", "dead_line: 60s"),
    ("on_stream_failure: restart", "on_stream_failure: retry"),
]


@pytest.mark.parametrize(("old", "new"), MUTATIONS, ids=[f"{old} > {new}" for old, new in MUTATIONS])
def test_mutated_file_fails_in_both(
    old: str, new: str, full: str, validator: Draft202012Validator, checked: Callable[..., Checked]
) -> None:
    """What lint refuses is red in the editor."""
    assert full.count(old) >= 1
    text = full.replace(old, new, 1)
    assert checked(text).spec is None
    broken = read(text, "f", Problems("f"))
    assert broken is None or not validator.is_valid(plain(broken))


def test_schema_is_a_schema(components: Components) -> None:
    """It is valid by the dialect that it names."""
    made = schema(components)
    Draft202012Validator.check_schema(made)
    assert made["$schema"] == Draft202012Validator.META_SCHEMA["$id"]


def test_schema_describes_every_key(components: Components) -> None:
    """An editor shows what each key means, and its default."""
    made = schema(components)
    pipeline = made["else"]["properties"]
    assert pipeline["steps"]["description"] == "The steps, in the order they run."
    prompt = made["$defs"]["step"]["properties"]["prompt"]["anyOf"][-1]["properties"]
    assert (prompt["unit"]["default"], prompt["history_share"]["default"]) == ("passage", 0.5)
    assert all("description" in key for key in [*pipeline.values(), *prompt.values()])


def test_schema_completes_components_by_their_name(components: Components) -> None:
    """Each has its own form, with `use` as a constant and nothing but its own options."""
    forms = schema(components)["$defs"]["ranker"]["anyOf"]
    (words,) = [form for form in forms if form.get("properties", {}).get("use", {}).get("const") == "words"]
    assert words["description"] == "Ranks by words in common."
    assert set(words["properties"]) == {"use", "top", "language", "weights"}
    assert words["additionalProperties"] is False
    assert {"const": "words", "description": "Ranks by words in common."} in forms
    assert all(form.get("const") != "files" for form in schema(components)["$defs"]["source"]["anyOf"])
