"""The keys of the pipeline language, declared once like the options of a component.

Lint, the JSON Schema and the tables of docs/reference/pipelines.md all come from here. A class is one mapping of the
file; a trailing `_` in a field's name keeps it clear of a Python keyword and is no part of the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

from attrs import define, evolve

from nexus_core.contract.components import OptionSpec, option, options_of
from nexus_core.contract.protocols import Ranker, Sink, Source, Tool

PIPELINE_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
MODEL_NAME = r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,127}"
TOOL_NAME = r"[A-Za-z0-9_-]{1,64}"
IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]{0,63}"

DEAREST = 1_000_000
"""US dollars for a million tokens: more is a mistake, and so is infinity."""

VERBS = ("gather", "rank", "prompt", "generate", "choose", "together", "call")
ALWAYS_THERE = ("query", "items", "history", "inputs", "vars")
"""What every template may read."""
EXPRESSION_NAMES = (*ALWAYS_THERE, "answer")
"""What every expression may read."""

Scalar = str | int | float | bool | None
"""A single value."""

# These classes are read and never built: without methods they cost a third of the start-up time.
_declaration = define(init=False, repr=False, eq=False, slots=False)


@_declaration
class PipelineKeys:
    """The top level of a file."""

    name: str = option(help="Its name, of letters, digits, `_`, `.` and `-`.", pattern=PIPELINE_NAME)
    description: str = option("", help="What it does, in a sentence.")
    models: Mapping[str, Any] = option(factory=dict, help="Models by name: connectors with options and figures.")
    default: str | None = option(None, help="The model of generate steps that name none; else the first declared.")
    steps: tuple[Any, ...] = option(help="The steps, in the order they run.")
    sinks: tuple[Sink, ...] = option((), help="Where the events of runs go.")
    inputs: Mapping[str, Any] = option(factory=dict, help="What a caller may give besides the query, by name.")
    plugins: tuple[str, ...] = option((), help="Python files with plugins, in the folder of this file or below it.")
    content: bool = option(False, help="Let events carry queries and answers.")
    rewrite: bool = option(
        False, help="Search for what a follow-up question means: rewritten by the model that answers, or by its words."
    )
    calls: Mapping[str, Any] | None = option(None, help="What holds for each call of a model and its fallbacks.")
    on_stream_failure: Literal["fail", "restart", "continue"] = option(
        "fail", help="After the first text of a stream: end with an error, begin again, or let another model go on."
    )
    tests: tuple[Any, ...] = option((), help="What `nexus test` tries; a run does not read it.")


@_declaration
class ModelKeys:
    """A model; every other key is an option of its connector."""

    use: str = option(help="The connector.")
    window: int | None = option(None, help="Tokens of prompt and answer together.", gt=0)
    max_input: int | None = option(None, help="Tokens of the longest prompt, where that is limited apart.", gt=0)
    max_output: int | None = option(None, help="Tokens of the longest answer, where that is limited apart.", gt=0)
    encoding: Literal["o200k_base", "cl100k_base", "approximate"] | None = option(
        None, help="The tokenizer that counts for this model."
    )
    options: CallKeys | None = option(None, help="Call options; a generate step's own stand over them.")
    fallback: str | tuple[str, ...] = option((), help="The model or models to try when this one does not answer.")
    aliases: str | tuple[str, ...] = option((), help="Other names for it.")
    retry: Mapping[str, Any] | bool | None = option(None, help="How often it is asked again; `false` is never.")
    breaker: Mapping[str, Any] | bool | None = option(
        None, help="When it is left alone because it only fails; `false` is never."
    )
    limits: Mapping[str, Any] | None = option(None, help="What it is asked at most.")
    prices: PriceKeys | None = option(None, help="What it costs; stands over what its connector knows.")
    cache: Mapping[str, Any] | bool | None = option(
        None, help="Keep its answers in the store and give them again to the same request; `true` is by the defaults."
    )
    allow_empty: bool = option(False, help="Take an answer without text for one; else it is an error.")


@_declaration
class CallKeys:
    """Call options: what is asked of a model. What is not set is not sent."""

    temperature: float | None = option(None, help="How freely words are chosen; 0 is the least.", ge=0, le=2)
    max_tokens: int | None = option(
        None, help="Tokens of the longest answer; so much of the window is kept free.", gt=0
    )
    stop: str | tuple[str, ...] | None = option(None, help="Texts that end the answer.")
    top_p: float | None = option(None, help="Choose among the likeliest words that make up this share.", ge=0, le=1)
    frequency_penalty: float | None = option(None, help="Against words, the more often they stood.", ge=-2, le=2)
    presence_penalty: float | None = option(None, help="Against words that stood before.", ge=-2, le=2)
    tools: tuple[ToolKeys, ...] | None = option(None, help="What the model may ask to be called; nothing here runs it.")
    tool_choice: str | None = option(
        None, help="`auto`, `none`, `required`, or the name of the one tool that must be called."
    )
    reasoning_effort: str | None = option(
        None, help="How long it may think: `none`, `minimal`, `low`, `medium`, `high`, `xhigh`, or a word of its own."
    )
    extra: Mapping[str, Any] = option(factory=dict, help="Whatever else this one service takes, passed on as it is.")


@_declaration
class ToolKeys:
    """A tool that a model may ask to be called."""

    name: str = option(help="Its name, of letters, digits, `_` and `-`.", pattern=TOOL_NAME)
    description: str = option("", help="What it does, and when it is to be called: the model reads this.")
    parameters: Mapping[str, Any] = option(factory=dict, help="JSON Schema of its arguments, an object.")


@_declaration
class PriceKeys:
    """What a model costs, in US dollars per million tokens."""

    input: float = option(help="Tokens of the prompt.", ge=0, le=DEAREST)
    output: float = option(help="Tokens of the completion; 0 for a model that only makes vectors.", ge=0, le=DEAREST)
    cached: float | None = option(
        None, help="Those of the prompt that the service had at hand; else as `input`.", ge=0, le=DEAREST
    )
    reasoning: float | None = option(
        None, help="Those of the completion that were thought and not said; else as `output`.", ge=0, le=DEAREST
    )


@_declaration
class StepKeys:
    """A step: exactly one verb, and modifiers."""

    gather: Source | None = option(None, help="Verb: add the items of this source.")
    rank: Ranker | None = option(None, help="Verb: score and order the items with this ranker.")
    prompt: PromptKeys | str | None = option(None, help="Verb: make a draft with this template.")
    generate: GenerateKeys | str | None = option(None, help="Verb: ask this model, or the default one if empty.")
    choose: tuple[BranchKeys, ...] | None = option(None, help="Verb: run the steps of the first branch that holds.")
    together: tuple[StepKeys, ...] | None = option(
        None, help="Verb: run gather steps, or rank steps, at the same time."
    )
    call: CallStepKeys | str | None = option(None, help="Verb: run another pipeline, for its answer or its items.")
    as_: str | None = option(
        None, help="Keep the result as `vars.NAME`: the items of gather and rank, the answer of generate and call."
    )
    when: str | bool | None = option(None, help="Skip the step unless this `{{ expression }}` is true.")
    timeout: float | str | None = option(None, help="The longest it may take: seconds, or `500ms`, `30s`, `2m`.", gt=0)
    into: Literal["query"] | None = option(None, help="Only on generate: `query` makes the answer the new query.")


@_declaration
class BranchKeys:
    """A branch of a choose step."""

    when: str | bool | None = option(None, help="Choose it if this `{{ expression }}` is true; without it, always.")
    steps: tuple[StepKeys, ...] = option(help="What is done then: steps like all others.")


@_declaration
class CallStepKeys:
    """A call step; the file of the other pipeline alone may stand instead of the mapping."""

    pipeline: str = option(help="Its file, in the folder of this one or below it: `./other.yaml`.")
    query: str | None = option(None, help="What it is asked; may hold `{{ expression }}`. Else the query as it is.")
    inputs: Mapping[str, Any] = option(factory=dict, help="Values for its inputs; a text may be `{{ expression }}`.")
    take: Literal["answer", "items"] = option(
        "answer", help="Its answer, as `vars.NAME`, or its items, which are added like those of a gather step."
    )


@_declaration
class GatherKeys:
    """A gather step; every other key is an option of its source. The source's name alone may stand instead of it."""

    use: str = option(help="The source.")
    where: Mapping[str, Any] | None = option(
        None, help="Only items whose fields are so, as `{year: {gte: 2020}, author: [Ann, Bob]}`."
    )
    expand: ExpandKeys | Literal["phrasings", "feedback", "hypothetical"] | None = option(
        None, help="Search for more than the question; `feedback` alone is `{by: feedback}`."
    )


@_declaration
class ExpandKeys:
    """What a gather step searches for besides the question; what is found is fused."""

    by: Literal["phrasings", "feedback", "hypothetical"] = option(
        "phrasings",
        help="Other phrasings by a model, the best words of the first items found, or an answer that a model makes up.",
    )
    phrasings: int = option(3, help="With `phrasings`: how many at most.", ge=1, le=8)
    model: str | None = option(None, help="The model that writes them, by name or alias; else the default model.")
    max_tokens: int = option(300, help="Tokens of what that model writes, at most.", ge=16, le=4096)
    timeout: float | str = option(
        10.0, help="The longest that the model may take, retries included: seconds, or `500ms`, `30s`.", gt=0
    )
    items: int = option(3, help="With `feedback`: how many of the first items are read.", ge=1, le=20)
    words: int = option(20, help="With `feedback`: how many of their words are searched for.", ge=1, le=64)
    weight: float = option(0.5, help="What each further search counts, against 1 for the question.", gt=0, le=1)
    fusion: Literal["rrf", "scores"] = option(
        "rrf", help="Fuse by places (reciprocal rank), or add up the scores of the source."
    )


@_declaration
class PromptKeys:
    """A prompt step; a template alone may stand instead of the mapping."""

    template: Any = option(
        help="A template's name, `{use: ...}`, a file (`./x.jinja`), or `{text: ...}` with the template itself."
    )
    budget: int | None = option(None, help="Most tokens of context; else what the window has room for.", gt=0)
    pin: tuple[str, ...] = option((), help="Items, by id or glob, that are always in, whole.")
    quota: Mapping[str, int] = option(factory=dict, help="Most tokens of the sources that match a glob, by glob.", gt=0)
    unit: Literal["passage", "item"] = option("passage", help="What is chosen: the best passages, or items in order.")
    overflow: Literal["cut", "skip", "stop"] = option(
        "cut", help="With `unit: item`, an item that does not fit is cut at a sentence, skipped, or the last looked at."
    )
    order: Literal["rank", "best_last", "both_ends", "source"] = option(
        "rank", help="Items by rank, the best last, the best at both ends, or as in their source."
    )
    passage_tokens: int | None = option(
        None, help="With `unit: passage`, the tokens of a passage; else chosen by the room there is.", ge=16, le=1024
    )
    near_duplicates: Literal["drop", "keep"] = option("drop", help="What becomes of passages that say the same again.")
    history_share: float = option(0.5, help="At most this share of the free window goes to the history.", ge=0, le=1)
    variables: Mapping[str, Any] = option(
        factory=dict, help="Values for the template; a text may be `{{ expression }}`."
    )


@_declaration
class TemplateTextKeys:
    """A template inside the file."""

    text: str = option(help="The template, in Jinja.")


@_declaration
class GenerateKeys:
    """A generate step; a model's name alone, or nothing, may stand instead of the mapping."""

    model: str | None = option(None, help="A model's name or alias; else the default model.")
    client_tools: bool = option(False, help="Callers of the server may offer tools to the model of the last step.")
    tools: tuple[Tool, ...] = option((), help="What the model may call before it answers; it is run here.")
    allow: tuple[str, ...] = option((), help="The tools, by name, that may change something outside of the run.")
    rounds: int = option(
        5, help="With `tools`: requests to the model at most; in the last it must answer.", ge=2, le=32
    )
    tool_calls: int = option(16, help="With `tools`: calls in all rounds together, at most.", ge=1, le=256)
    tool_timeout: float | str = option(30.0, help="The longest a call of a tool may take: seconds, or `30s`.", gt=0)
    approval_timeout: float | str = option(
        120.0,
        help="Where a person is asked whether a tool is called: the longest wait, in seconds, or `2m`.",
        gt=0,
    )
    tool_share: float = option(
        0.5, help="At most this share of the free window goes to results of tools.", gt=0, le=0.9
    )
    options: CallKeys | None = option(None, help="Call options, over those of the model.")
    schema: Mapping[str, Any] | str | None = option(
        None, help="JSON Schema (draft 2020-12) that the answer must match, or a file with one: `./x.json`, `./x.yaml`."
    )


@_declaration
class InputKeys:
    """An input; its default alone, or nothing for a required one, may stand instead of the mapping."""

    default: Scalar = option(None, help="Its value where the caller gives none.")
    description: str = option("", help="What it is for.")
    required: bool = option(False, help="The caller must give it; so it is where there is no default.")


@lru_cache
def keys_of(cls: type) -> tuple[OptionSpec, ...]:
    """Return the keys of a mapping of the language, as they stand in a file."""
    return tuple(evolve(spec, name=spec.name.removesuffix("_")) for spec in options_of(cls))
