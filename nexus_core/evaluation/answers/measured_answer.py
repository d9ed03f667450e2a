"""One answer, measured: against the known answers, against what it cites, and whether it says that there is none."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

from attrs import evolve, field, frozen

from nexus_core.contract.answers import Answer, AttemptFinished
from nexus_core.contract.prompts import PackedItem
from nexus_core.evaluation.answers.abstention import abstains, abstention_pattern, is_abstention
from nexus_core.evaluation.answers.citations import CitedSentence, cited_sentences, without_citations
from nexus_core.evaluation.answers.groundedness import SentenceLikeness, cited_text, is_supported_by_words
from nexus_core.evaluation.answers.judge import Verdict
from nexus_core.evaluation.answers.match import match_answer
from nexus_core.evaluation.collection import Query

MATCHES = ("exact match", "token F1", "contains answer")
ABSTENTIONS = ("right abstention", "wrong abstention", "failed")
LOWER_IS_BETTER = frozenset(("wrong abstention", "failed"))


@frozen(kw_only=True, eq=False)
class AnswerSettings:
    """How answers are measured."""

    language: str = "english"
    """Of the answers: whose articles are left out, and how words are stemmed."""
    pattern: re.Pattern[str] = field(factory=abstention_pattern)
    """What finds a sentence that says that there is no answer."""
    embedder: SentenceLikeness | None = None
    judge: str | None = None
    """A model of the first pipeline."""
    at_once: int = 4
    """Runs, or requests to the judge, under way together."""
    asked: Mapping[str, Any] = field(factory=dict)
    """What else is asked of a pipeline, in the words of `Pipeline.run`."""

    @property
    def grounded(self) -> tuple[str, ...]:
        """The names of the figures about citations."""
        by_embeddings = () if self.embedder is None else ("grounded by embeddings",)
        by_judge = () if self.judge is None else ("grounded by judge",)
        return ("cited", "grounded by words", *by_embeddings, *by_judge)

    @property
    def figures(self) -> tuple[str, ...]:
        """The names of a trial's figures."""
        return (*MATCHES, *self.grounded, *ABSTENTIONS)


@frozen(kw_only=True, eq=False, repr=False)
class MeasuredSentence:
    """A statement of an answer, and what its passages say of it; `None` where that was not looked at."""

    text: str
    cited: tuple[int, ...]
    missing: tuple[int, ...] = ()
    """Numbers of passages that were not in the prompt: such a sentence is supported by nothing."""
    passages: str = ""
    """What is cited."""
    by_words: bool | None = None
    by_embeddings: bool | None = None
    by_judge: Verdict | None = None


@frozen(kw_only=True, eq=False, repr=False)
class MeasuredAnswer:
    """What came of one query."""

    query: Query
    text: str = ""
    failure: str = ""
    """Why there is no answer."""
    abstains: bool = False
    is_cut: bool = False
    """It ended at its limit of tokens."""
    sentences: tuple[MeasuredSentence, ...] = ()
    """Those that state something: what says that there is no answer is left out."""
    attempts: tuple[AttemptFinished, ...] = ()


async def measure_answer(query: Query, answer: Answer, settings: AnswerSettings) -> MeasuredAnswer:
    """Return an answer with its sentences held against what they cite, by words and embeddings."""
    found = cited_sentences(answer.text)
    packed = {entry.number: entry for entry in answer.prompt.items}
    stating = [sentence for sentence in found if not abstains(sentence, settings.pattern)]
    return MeasuredAnswer(
        query=query,
        text=answer.text,
        abstains=is_abstention(found, settings.pattern),
        is_cut=answer.finish_reason == "length",
        sentences=tuple([await _measure_sentence(sentence, packed, settings) for sentence in stating]),
        attempts=answer.attempts,
    )


async def _measure_sentence(
    sentence: CitedSentence, packed: Mapping[int, PackedItem], settings: AnswerSettings
) -> MeasuredSentence:
    missing = tuple(number for number in sentence.cited if number not in packed)
    measured = MeasuredSentence(text=sentence.text, cited=sentence.cited, missing=missing)
    if not sentence.cited:
        return measured
    embedder = settings.embedder
    if missing:
        return evolve(measured, by_words=False, by_embeddings=None if embedder is None else False)
    passages = [packed[number] for number in sentence.cited]
    text = cited_text(passages)
    return evolve(
        measured,
        passages=text,
        by_words=is_supported_by_words(sentence.text, text, settings.language),
        by_embeddings=None if embedder is None else await embedder.is_supported(sentence.text, passages),
    )


def answer_figures(answer: MeasuredAnswer, settings: AnswerSettings) -> tuple[float, ...]:
    """Return the figures of one answer; of a failed run there is only that it failed."""
    if answer.failure:
        return (*(nan,) * (len(settings.figures) - 1), 1.0)
    query = answer.query
    matches = (nan,) * len(MATCHES)
    if query.answers:
        match = match_answer(without_citations(answer.text), query.answers, settings.language)
        matches = (match.exact, match.f1, match.contains)
    abstains = float(answer.abstains)
    right, wrong = (abstains if query.answerable is said else nan for said in (False, True))
    said = answer.sentences
    grounded = {
        "cited": _share([bool(sentence.cited) for sentence in said]),
        "grounded by words": _share([sentence.by_words for sentence in said]),
        "grounded by embeddings": _share([sentence.by_embeddings for sentence in said]),
        "grounded by judge": _share([_VERDICTS.get(sentence.by_judge or "unknown") for sentence in said]),
    }
    return (*matches, *(grounded[name] for name in settings.grounded), right, wrong, 0.0)


_VERDICTS = {"supported": True, "unsupported": False}


def _share(verdicts: Sequence[bool | None]) -> float:
    """Return the share of yes among those that are known."""
    known = [verdict for verdict in verdicts if verdict is not None]
    return sum(known) / len(known) if known else nan
