"""Keys that slipped out of their mapping: every mapping of the language, every key."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nexus_core.config.check import Checked

TIMES = {"first_wait": 1, "longest_wait": 2, "longest_retry_after": 3}
FULL: dict[str, Any] = {
    "name": "x",
    "models": {
        "m": {
            "use": "chat",
            "model": "large",
            "strict": True,
            "window": 9000,
            "encoding": "o200k_base",
            "aliases": ["other"],
            "options": {"temperature": 1, "max_tokens": 9, "stop": "x", "top_p": 0.5, "presence_penalty": 1},
            "retry": {"attempts": 2, **TIMES},
            "breaker": {"failures": 2, "share": 0.5, "of_at_least": 3, "open": 1, "longest_open": 2, "park": 3},
            "limits": {"requests_per_minute": 9, "tokens_per_minute": 9, "concurrency": 2, "queue": 3, "queue_wait": 1},
        }
    },
    "calls": {"deadline": 60, "stream_deadline": 60, "attempts": 3, "targets": 2, "patience": 1},
    "steps": [
        {"gather": {"use": "files", "paths": ["*.md"], "limit": 5}, "as": "kept", "timeout": 5},
        {"rank": {"use": "words", "top": 5, "language": "english"}},
        {
            "prompt": {
                "template": {"use": "answers", "tone": "plain"},
                "budget": 500,
                "pin": ["a"],
                "unit": "passage",
                "order": "rank",
                "passage_tokens": 64,
                "near_duplicates": "keep",
                "history_share": 0.5,
                "variables": {"a": 1},
            },
            "when": True,
        },
        {"generate": {"model": "m", "options": {"temperature": 0, "max_tokens": 8}}, "timeout": "5s"},
    ],
}


def mappings(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the paths of the mappings whose keys are those of the language, or a component's."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(value, dict | list):
            yield from mappings(value, (*path, key))
            if isinstance(value, dict) and key not in ("models", "variables"):
                yield (*path, key)


def slipped(path: tuple[Any, ...], keys: tuple[str, ...]) -> str:
    """Return the pipeline with some keys of one mapping beside it, and the mapping empty if none is left."""
    document = copy.deepcopy(FULL)
    above: Any = document
    for part in path[:-1]:
        above = above[part]
    values = {key: above[path[-1]].pop(key) for key in keys}
    if isinstance(above, list):  # out of a step, to the top
        return json.dumps({**document, **values})
    rest = list(above.items())
    above.clear()
    for name, value in rest:
        above[name] = value or None
        if name == path[-1]:
            above.update(values)
    return json.dumps(document)


PATHS = list(mappings(FULL))


@pytest.mark.parametrize("path", PATHS, ids=[".".join(map(str, path)) for path in PATHS])
def test_a_key_that_slipped_out_is_told_where_it_belongs(
    path: tuple[Any, ...], checked: Callable[..., Checked]
) -> None:
    """Once, and nothing else is said: each key alone, and all of them together, which leaves the mapping empty."""
    node: Any = FULL
    for part in path:
        node = node[part]
    keys = [key for key in node if not isinstance(path[-1], int) or key in ("as", "when", "timeout", "into")]
    for together in (*((key,) for key in keys), tuple(keys)):
        problems = checked(slipped(path, together)).problems
        name = path[-1] if isinstance(path[-1], str) else "steps"
        assert [problem.code for problem in problems] == ["S002"] * len(together), [str(one) for one in problems]
        for key, problem in zip(together, problems, strict=True):
            assert f"`{key}` belongs to `{name}`, not " in str(problem)
            assert f"indent it under `{name}`" in str(problem)


STEP = "models: {m: chat}\nsteps:\n- generate:\n"
FAR = {
    f"{STEP}  stop: x\n": "`generate.options`, not to the step: indent it under `options`, "
    "as in `options: {stop: ...}`",
    f"{STEP}- prompt: answers\n- generate:\nbudget: 5\n": "`steps.prompt`, not here: indent it under `prompt`, "
    "as in `prompt: {template: answers, budget: ...}`",
    f"attempts: 2\n{STEP}": "`calls`, not here: indent it under `calls`, as in `calls: {attempts: ...}`",
    f"inputs:\ntone: plain\n{STEP}": "`inputs`, not here: indent it under `inputs`",
    "models:\n  m:\n  use: chat\n  n: {use: chat}\nsteps:\n- generate: m\n": "`m`, not here: indent it under `m`",
}


@pytest.mark.parametrize("text", FAR)
def test_a_key_far_from_its_mapping_is_told_the_way(text: str, checked: Callable[..., Checked]) -> None:
    """Further out, or where the mapping is a name alone, empty or not there; a sound model is none."""
    problems = [problem for problem in checked(f"name: x\n{text}").problems if problem.severity == "error"]
    assert [problem.message.partition(" belongs to ")[2] for problem in problems] == [FAR[text]]


def test_a_model_may_have_the_name_of_an_option(checked: Callable[..., Checked]) -> None:
    """Also where there are other mistakes."""
    text = "name: x\nmodels:\n  m: chat\n  window: {use: chat, nothing: 1}\nsteps:\n- generate: window\n"
    assert [problem.code for problem in checked(text).problems] == ["S002"]
    assert "'window' takes no 'nothing'" in str(checked(text).problems[0])


@pytest.mark.slow
def test_a_file_of_thousands_of_unknown_keys_is_looked_at_in_part(checked: Callable[..., Checked]) -> None:
    """As many as are shown; here each of them would be looked for in thousands of models."""
    models = "".join(f"  m{n}:\n" for n in range(6000))
    text = f"name: x\nmodels:\n{models}" + "".join(f"k{n}: 1\n" for n in range(3000))
    assert len(checked(text).problems) == 101
