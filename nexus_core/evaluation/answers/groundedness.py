"""Groundedness: whether the passages that a sentence cites hold what it says, judged without a model that generates.

By words: the share of the sentence's content words (stems, without stop words) that stand in the titles and texts of
the passages it cites. By embeddings: the highest cosine of the sentence and a sentence of these passages. For both, a
number that the passages do not have makes the sentence unsupported. Sentences that cite several passages are held
against all of them together, as by Gao et al. 2023 (ALCE).

The thresholds are measured on 96 sentences about 16 short passages (tests/evaluation/answers/groundedness.jsonl), half
of them supported (copied or paraphrased), half invented or with one thing changed, and on the supported ones held
against a passage of another subject. They were chosen on one half of the passages. On the other half:

| of 24 each                            | by words | by embeddings |
|---------------------------------------|----------|---------------|
| supported, and counted as supported   | 19       | 21            |
| wrong passage, counted as supported   | 0        | 0             |
| not supported, counted as supported   | 12       | 11            |

So both tell a wrong citation well and a changed word badly: what differs by one name needs a judge. The rule about
numbers, and that titles count for words alone, were settled with all passages in view: on others expect a little less.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import frozen

from nexus_core.contract.errors import RankerError
from nexus_core.contract.prompts import PackedItem
from nexus_core.contract.protocols import Ranker
from nexus_core.contract.ranking import Ranking
from nexus_core.contract.run_context import RunContext
from nexus_core.contract.values import Item
from nexus_core.engine.plugin_guard import PluginGuard, check_ranked
from nexus_core.toolkit.text.segmentation import sentences
from nexus_core.toolkit.text.stemming import pieces, stems

WORDS_AT = 0.5
"""The share of content words from which on a sentence counts as supported."""
LIKENESS_AT = 0.45
"""The cosine from which on it does, with the static embeddings of the ranker `semantic`."""

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def cited_text(packed: Sequence[PackedItem]) -> str:
    """Return what stands in the prompt of passages, each under its title."""
    return "\n\n".join(f"{entry.item.title}\n\n{entry.text}" for entry in packed)


def has_numbers(sentence: str, text: str) -> bool:
    """Tell whether a text has every number of a sentence."""
    return set(_NUMBER.findall(sentence)) <= set(_NUMBER.findall(text))


def shared_words(sentence: str, text: str, language: str) -> float:
    """Return the share of a sentence's content words that a text has; 0 for a sentence that has none."""
    said = _content_words(sentence, language)
    return len(said & _content_words(text, language)) / len(said) if said else 0.0


def is_supported_by_words(sentence: str, text: str, language: str) -> bool:
    """Tell whether a text holds enough of the words of a sentence, and all of its numbers."""
    return has_numbers(sentence, text) and shared_words(sentence, text, language) >= WORDS_AT


@frozen(kw_only=True, eq=False)
class SentenceLikeness:
    """Compares sentences by a ranker whose scores are likeness, such as `semantic`: the public way to embeddings."""

    name: str
    ranker: Ranker
    threshold: float = LIKENESS_AT

    async def is_supported(self, sentence: str, packed: Sequence[PackedItem]) -> bool:
        """Tell whether a sentence of passages is near enough to one, and they have all of its numbers.

        Titles are not compared: one that names the subject is near to whatever is said of it.
        """
        if not has_numbers(sentence, cited_text(packed)):
            return False
        return await self.likeness(sentence, "\n\n".join(entry.text for entry in packed)) >= self.threshold

    async def likeness(self, sentence: str, text: str) -> float:
        """Return the highest score of a sentence of the text; 0 where it has none."""
        spans = sentences(text, "markdown")
        if not spans:
            return 0.0
        items = tuple(Item(id=str(place), text=text[start:end]) for place, (start, end) in enumerate(spans))
        with PluginGuard(f"ranker {self.name!r}", RankerError):
            ranking = await self.ranker.rank(sentence, Ranking(items), RunContext(query=sentence))
        scores = check_ranked(self.name, ranking, Ranking(items)).scores
        return 0.0 if scores is None else float(max(scores))


def _content_words(text: str, language: str) -> set[str]:
    return {stem for piece in pieces(text) for stem in stems(piece, language)}
