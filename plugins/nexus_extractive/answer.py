"""From a prompt to the pieces of an answer; pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Literal

from nexus_core import CallOptions, Prompt
from nexus_core.toolkit import counted, token_counter
from nexus_extractive.compose import pieces
from nexus_extractive.scoring import SCALES, Cosines, Question, choose, score_units

Reason = Literal["stop", "length"]

_TRACED = 200
"""Of the candidates, in rank order, that are looked at for the cosines of those that were packed."""
NO_ITEMS = "There were no items to answer from: nothing was packed with the question."


def answer(
    prompt: Prompt, options: CallOptions, sentences: int, min_score: float, language: str
) -> tuple[list[str], Reason]:
    """Return the answer in pieces, and why it ends; of the options only `max_tokens` and `stop` mean something here."""
    found = _sentences(prompt, sentences, min_score, language)
    kept, reason = _within(found, options.max_tokens)
    return (_stopped(kept, options.stop), reason) if options.stop else (kept, reason)


def _sentences(prompt: Prompt, sentences: int, min_score: float, language: str) -> list[str]:
    if not prompt.items:
        return [NO_ITEMS]
    question = Question.read(_question(prompt), prompt.items, language)
    scored = score_units(question, prompt.items, read_cosines(prompt))
    chosen = choose(scored, question.terms, sentences, min_score)
    return list(pieces(chosen, question)) or [_nothing(len(prompt.items))]


def _question(prompt: Prompt) -> str:
    """Return what was searched for, the query, or what the user said last where a prompt comes without one."""
    said = [message.text for message in prompt.messages if message.role == "user"]
    return prompt.searched or prompt.query or (said[-1] if said else "")


def read_cosines(prompt: Prompt) -> Cosines | None:
    """Return the cosines of the packed items with the question: `None` where `semantic` did not rank them.

    Nor where its model is none that was measured. Of two that have left vectors, the scale of the first is taken, which
    differs little from the other.
    """
    keys = prompt.items[0].item.features
    models = {str(key.parameter).partition(":")[0] for key in keys if key.name == "vector"}
    scale = next((scale for model, scale in SCALES.items() if model in models), None)
    if scale is None:
        return None
    numbers = {packed.item.id: packed.number for packed in prompt.items}
    cosines: dict[int, float] = {}
    for entry in islice(prompt.trace, _TRACED):
        if (number := numbers.get(entry.item_id)) and (cosine := entry.scores.get("semantic")) is not None:
            cosines[number] = cosine
            if len(cosines) == len(numbers):
                break
    return Cosines(cosines, scale)


def _nothing(count: int) -> str:
    items = f"the {counted(count, 'item that was packed', 'items that were packed')}"
    return f"Nothing in {items} matches the question."


def _within(found: list[str], max_tokens: int | None) -> tuple[list[str], Reason]:
    """Return the pieces that fit, whole ones; where not even the first does, as many of its words as fit."""
    if max_tokens is None:
        return found, "stop"
    count = token_counter(ENCODING).count
    for number in range(len(found), 0, -1):
        if count("".join(found[:number])) <= max_tokens:
            return found[:number], "stop" if number == len(found) else "length"
    words = found[0].split(" ")
    while len(words) > 1 and count(" ".join(words)) > max_tokens:
        words.pop()
    return [" ".join(words)], "length"


def _stopped(found: list[str], stop: Sequence[str]) -> list[str]:
    """Return the pieces up to the first text that ends the answer."""
    text = "".join(found)
    end = min((place for word in stop if word and (place := text.find(word)) >= 0), default=len(text))
    kept = []
    for piece in found:
        if end <= 0:
            break
        kept.append(piece[:end])
        end -= len(piece)
    return kept


ENCODING = "o200k_base"


"""No model reads the tokens. Counted by this encoding, prompts are as long as those of the newest models, and by the
counts that stores keep."""
