"""The strategies give what the contract allows, and what they promise."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings, strategies as st

from nexus_core import CallOptions, Item, Prompt, Ranking
from nexus_core.testing import strategies
from nexus_core.toolkit.http.sse import EventDecoder

QUICK = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.slow
@QUICK
@given(strategies.collections(), strategies.queries(), strategies.rankings())
def test_collections_have_ids_of_their_own(items: tuple[Item, ...], query: str, ranking: Ranking) -> None:
    """Ids are unique, queries are text, and a ranking ranks all of its items."""
    assert len({item.id for item in items}) == len(items)
    assert isinstance(query, str)
    assert sorted(ranking.order()) == list(range(len(ranking)))


# Some of what is found is large, as it should be, and Hypothesis warns that it is shown in full.
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
def test_collections_hold_the_hard_cases() -> None:
    """Empty ones, items that are alike, huge items and shared titles are all found."""
    wanted: list[Any] = [
        lambda items: items == (),
        lambda items: len(items) > 1 and len({(item.text, item.title) for item in items}) == 1,
        lambda items: any(len(item.text) > 2000 for item in items),
        lambda items: len(items) > 1 and len({item.title for item in items}) == 1 and items[0].title,
    ]
    # That one is found is enough: no time is spent on finding the smallest.
    quick = settings(max_examples=2000, database=None, phases=[Phase.generate])
    for condition in wanted:
        assert find(strategies.collections(), condition, settings=quick) is not None


@pytest.mark.slow
@QUICK
@given(strategies.json_values(), strategies.call_options(), strategies.prompts())
def test_values_are_valid(value: Any, options: CallOptions, prompt: Prompt) -> None:
    """JSON values survive JSON, options are in range, and a prompt ends with the user."""
    assert json.loads(json.dumps(value)) == value
    assert options.max_tokens is None or options.max_tokens > 0
    assert prompt.messages[-1].role == "user"


@QUICK
@given(st.data(), st.lists(st.sampled_from([b"{}", b'{"a": "\xc3\xa9"}', b"[DONE]", b"a\nb"]), min_size=1, max_size=4))
def test_event_streams_say_the_same_however_they_are_cut(data: st.DataObject, payloads: list[bytes]) -> None:
    """Whatever newlines, noise and cuts: the same data comes out of the decoder."""
    body = data.draw(strategies.event_streams(payloads))
    cut = data.draw(strategies.cuts(body))
    assert b"".join(cut) == body
    decoder = EventDecoder()
    events = [event for piece in cut for event in decoder.feed(piece)]
    assert [payload for _, payload in events] == payloads
