"""What a pipeline says about attempts: the keys of `retry`, `breaker`, `limits`, `cache` and `calls`, as policies.

Declared like the other keys (see keys.py), and apart from them because few files say any of it: this module is only
imported for those that do. A duration's key is the field of its policy without the `_s`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, frozen

from nexus_core.config.keys import keys_of
from nexus_core.config.options import BAD, Options, place_of
from nexus_core.config.policies import (
    BreakerPolicy,
    CachePolicy,
    CallPolicy,
    OnStreamFailure,
    RateLimitPolicy,
    RetryPolicy,
)
from nexus_core.config.spec import ModelSpec
from nexus_core.config.yaml.problems import Problems, SourceLocation, quoted
from nexus_core.config.yaml.scalars import DURATIONS, SIZES, seconds, size
from nexus_core.config.yaml.tree import MappingNode, Node, ScalarNode, UnreadableNode, shown
from nexus_core.contract.components import OptionSpec, option

_declaration = define(init=False, repr=False, eq=False, slots=False)

Duration = float | str
"""Seconds, or a text like `500ms`, `30s`, `2m`."""
Size = int | str
"""Bytes, or a text like `512KiB`, `32MiB` or `1GiB`."""
_DAY_S = 86_400


@_declaration
class RetryKeys:
    """How often a model is asked again when it fails in a way that may pass."""

    attempts: int = option(3, help="Requests of one call to this model, the first included.", ge=1, le=10)
    first_wait: Duration = option(
        0.5,
        help="Most of the first wait; it doubles each time, and a random part of it is waited.",
        ge=0,
        le=60,
    )
    longest_wait: Duration = option(8.0, help="Where the doubling ends.", ge=0, le=600)
    longest_retry_after: Duration = option(
        30.0, help="A service that asks for more is left alone for that time, and the call goes on.", ge=0, le=3600
    )


@_declaration
class BreakerKeys:
    """When a model is left alone because it only fails."""

    failures: int = option(5, help="So many in a row open it.", ge=1, le=1000)
    share: float = option(0.5, help="So does this share of failures in the window.", gt=0, le=1)
    of_at_least: int = option(10, help="The share counts once the window has so many outcomes.", ge=1, le=100_000)
    window: Duration = option(60.0, help="How far back the share looks.", gt=0, le=3600)
    open: Duration = option(5.0, help="How long it stays open first; twice as long each time after.", gt=0, le=3600)
    longest_open: Duration = option(60.0, help="Where the doubling ends.", gt=0, le=3600)
    park: Duration = option(
        300.0, help="How long a model is left alone whose key, name or account is wrong.", ge=0, le=3600
    )


@_declaration
class LimitKeys:
    """What a model is asked at most."""

    requests_per_minute: int | None = option(None, help="Requests, ten seconds' worth at once.", ge=1, le=1_000_000)
    tokens_per_minute: int | None = option(
        None, help="Tokens of prompt and answer, ten seconds' worth at once.", ge=1, le=1_000_000_000
    )
    concurrency: int | None = option(None, help="Requests at the same time.", ge=1, le=100_000)
    queue: int = option(128, help="How many calls may wait for the limits.", ge=0, le=100_000)
    queue_wait: Duration = option(5.0, help="How long each of them waits at most.", ge=0, le=3600)


@_declaration
class CacheKeys:
    """How long and how many answers of a model are kept, to be given again to the same request."""

    expires: Duration = option("7d", help="How long an answer is given again.", gt=0, le=3650 * _DAY_S)
    max_items: int = option(10_000, help="Answers kept; the one used least recently goes first.", ge=1, le=1_000_000)
    max_bytes: Size = option("256MiB", help="Bytes that they take, or a text like 32MiB or 1GiB.", ge=1024, le=2**40)


@_declaration
class CallsKeys:
    """What holds for a whole call, however many models it tries."""

    deadline: Duration = option(
        120.0,
        help="Longest for a whole answer, waits and fallbacks included; also what the shares of streams are of.",
        gt=0,
        le=_DAY_S,
    )
    stream_deadline: Duration = option(600.0, help="Longest for a streamed answer, to its end.", gt=0, le=_DAY_S)
    attempts: int = option(
        6, help="Most requests of one call, over all models; of a step with tools, in all its rounds.", ge=1, le=1000
    )
    requests: int | None = option(
        None, help="Most requests of one run, with the pipelines that it calls.", ge=1, le=100_000
    )
    cost: float | None = option(
        None, help="Most US dollars of one run, with the pipelines that it calls.", gt=0, le=1_000_000
    )
    targets: int = option(3, help="Most models that one call tries.", ge=1, le=30)
    patience: Duration = option(
        2.0, help="Where another model is left, a longer wait than this is not made.", ge=0, le=3600
    )
    fallback_on_auth: bool = option(True, help="Go on where a key, a model's name or an address is wrong.")
    fallback_on_content_filter: bool = option(False, help="Go on where a service refuses the content.")


@frozen(eq=False, repr=False)
class _Mapping:
    """One of the mappings: its declaration, and the value that it comes to."""

    keys: type
    policy: type
    in_order: tuple[tuple[str, str], ...] = ()
    """Pairs of keys of which the first may not be more than the second."""


RETRY = _Mapping(RetryKeys, RetryPolicy, (("first_wait", "longest_wait"),))
BREAKER = _Mapping(BreakerKeys, BreakerPolicy, (("open", "longest_open"),))
LIMITS = _Mapping(LimitKeys, RateLimitPolicy)
CACHE = _Mapping(CacheKeys, CachePolicy)
CALLS = _Mapping(CallsKeys, CallPolicy)
OF_A_MODEL = ("retry", "breaker", "limits", "cache")
_SWITCHES = (RETRY, BREAKER, CACHE)
"""Those that may be true or false."""


def is_duration(spec: OptionSpec) -> bool:
    """Tell whether a key is a length of time."""
    return bool(spec.annotation == Duration)


def is_size(spec: OptionSpec) -> bool:
    """Tell whether a key is a number of bytes."""
    return bool(spec.annotation == Size)


def model_policies(node: MappingNode, name: str, options: Options) -> dict[str, Any]:
    """Return the policies that a model declares, by the field of its spec; every problem is noted."""
    owner = f"of model {quoted(name)}"
    retry, breaker, limits, cache = (node.get(key) for key in OF_A_MODEL)
    found: dict[str, Any] = {}
    if retry is not None:
        found["retry"] = (
            RetryPolicy(attempts=1) if _is_off(retry) else _policy(retry, RETRY, f"`retry` {owner}", options)
        )
    if breaker is not None:
        found["breaker"] = False if _is_off(breaker) else _policy(breaker, BREAKER, f"`breaker` {owner}", options)
    if limits is not None:
        found["limits"] = _policy(limits, LIMITS, f"`limits` {owner}", options)
    if cache is not None and not (isinstance(cache, ScalarNode) and cache.value in (None, False)):
        found["cache"] = CachePolicy(**_fields(cache, CACHE, f"`cache` {owner}", options))
    return found


def call_policy(node: Node | None, on_stream_failure: OnStreamFailure | None, options: Options) -> CallPolicy | None:
    """Return what a file says of whole calls, or `None` where it says nothing; every problem is noted."""
    found = {} if node is None else _fields(node, CALLS, "`calls`", options)
    if on_stream_failure is not None:
        found["on_stream_failure"] = on_stream_failure
    return CallPolicy(**found) if found else None


def report_useless(
    tree: MappingNode,
    specs: Sequence[ModelSpec],
    calls: CallPolicy | None,
    with_tools: Sequence[str],
    problems: Problems,
) -> None:
    """Warn of what is written in a sound file and can have no effect; `with_tools` names the steps that have tools."""
    policy = calls or CallPolicy()
    for spec in specs:
        node = _below(_below(tree, "models"), spec.name)
        retry, limits = _below(node, "retry"), _below(node, "limits")
        if spec.retry is not None and spec.retry.attempts > policy.attempts and _below(retry, "attempts") is not None:
            message = "`attempts` under `calls` ends a call before this model was asked so often: raise it as well"
            problems.warn("S007", _place(retry, "attempts"), message)
        if spec.limits is not None and spec.limits.unlimited:
            message = "these `limits` limit nothing: set requests_per_minute, tokens_per_minute or concurrency"
            problems.warn("S007", limits.place if limits is not None else spec.place, message)
    stated = _below(tree, "calls")
    falls_back = any(spec.fallback for spec in specs)
    if policy.on_stream_failure != "fail" and not falls_back:
        message = "no model has a `fallback` that could take over a broken stream: it fails whatever stands here"
        problems.warn("S007", place_of(tree, "on_stream_failure"), message)
    for key in ("attempts", "targets") if falls_back else ():
        if getattr(policy, key) == 1:
            message = f"with `{key}: 1` a call ends with the first model that fails: no `fallback` is asked"
            problems.warn("S007", _place(stated, key), message)
    for key in ("attempts", "requests") if with_tools else ():
        if getattr(policy, key) == 1:
            message = f"with `{key}: 1` a model has to answer at once: the `tools` of {with_tools[0]} are never called"
            problems.warn("S007", _place(stated, key), message)


def _below(node: Node | None, key: str) -> Node | None:
    return node.get(key) if isinstance(node, MappingNode) else None


def _place(node: Node | None, key: str) -> SourceLocation:
    return place_of(node, key) if isinstance(node, MappingNode) else SourceLocation("")


def _is_off(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.value is False


def _policy(node: Node, mapping: _Mapping, label: str, options: Options) -> Any:
    """Return the policy that a node declares, or `None` where it declares none."""
    fields = _fields(node, mapping, label, options)
    return mapping.policy(**fields) if fields else None


def _fields(node: Node, mapping: _Mapping, label: str, options: Options) -> dict[str, Any]:
    if isinstance(node, ScalarNode) and (node.value is None or (node.value is True and mapping in _SWITCHES)):
        return {}
    if not isinstance(node, MappingNode):
        if not isinstance(node, UnreadableNode):
            switched = ", true or false" if mapping in _SWITCHES else ""
            options.problems.error("T001", node.place, f"{label} must be a mapping{switched}, found {shown(node)}")
        return {}
    specs = {spec.name: spec for spec in keys_of(mapping.keys)}
    given = options.mapping(node, tuple(specs.values()), label)
    for name, value in given.items():
        if isinstance(value, str) and is_duration(specs[name]):
            given[name] = _seconds(value, node, specs[name], options)
        elif isinstance(value, str) and is_size(specs[name]):
            given[name] = _bytes(value, node, specs[name], options)
    if any(value is BAD for value in given.values()):
        return {}
    _report_out_of_order(given, node, mapping, options)
    return {f"{name}_s" if is_duration(specs[name]) else name: value for name, value in given.items()}


def _seconds(text: str, owner: MappingNode, spec: OptionSpec, options: Options) -> Any:
    node, duration = owner.get(spec.name) or owner, seconds(text)
    if duration is None:
        message = f"`{spec.name}` must be seconds, or {DURATIONS}, found {shown(node)}"
        options.problems.error("T004", node.place, message)
        return BAD
    return duration if options.in_bounds(duration, spec, node, spec.name) else BAD


def _bytes(text: str, owner: MappingNode, spec: OptionSpec, options: Options) -> Any:
    node, count = owner.get(spec.name) or owner, size(text)
    if count is None:
        message = f"`{spec.name}` must be bytes, or {SIZES}, found {shown(node)}"
        options.problems.error("T004", node.place, message)
        return BAD
    return count if options.in_bounds(count, spec, node, spec.name) else BAD


def _report_out_of_order(given: Mapping[str, Any], node: MappingNode, mapping: _Mapping, options: Options) -> None:
    # Only where both are written: a default gives way to what is.
    for less, more in mapping.in_order:
        if less in given and more in given and given[less] > given[more]:
            found = shown(node.get(less) or node)
            options.problems.error("S006", place_of(node, less), f"`{less}` is more than `{more}`: found {found}")
