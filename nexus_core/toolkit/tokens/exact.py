"""Counts exactly, by words as long as that is cheaper and by tiktoken from then on."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from nexus_core.toolkit.tokens.bpe import WordCounter, is_common
from nexus_core.toolkit.tokens.encodings import FACTS
from nexus_core.toolkit.tokens.vocabulary import load_ranks

if TYPE_CHECKING:
    from tiktoken import Encoding

_MERGED_AT_MOST = 1 << 15
"""Bytes of words merged without tiktoken: about as long as loading it takes: at most twice the best is ever spent."""


class ExactCounter:
    """Counts the tokens of one encoding; opening takes milliseconds, the first text that needs tiktoken loads it."""

    def __init__(self, name: str) -> None:
        self._facts = FACTS[name]
        self._ranks = load_ranks(self._facts)
        self._words: WordCounter | None = WordCounter(self._facts.common_pattern, self._ranks, self._count_whole)

    @property
    def counts_by_words(self) -> bool:
        """Whether tiktoken has not been needed so far."""
        return self._words is not None

    def count(self, text: str) -> int:
        """Return the number of tokens of `text`, special tokens taken for the plain text they look like."""
        words = self._words
        if words is None or not is_common(text):
            return self._count_whole(text)
        count = words.count(text)
        if words.merged > _MERGED_AT_MOST:
            self._words = None
        return count

    def _count_whole(self, text: str) -> int:
        self._words = None
        try:
            return len(self._tiktoken.encode_ordinary(text))
        except BaseException as error:
            # What tiktoken raises when its Rust code panics derives from BaseException and cannot be imported.
            if type(error).__name__ != "PanicException":
                raise
            return len(text.encode("utf-8", "replace"))  # no token is shorter than a byte

    @cached_property
    def _tiktoken(self) -> Encoding:
        from tiktoken import Encoding  # short runs do without it

        facts = self._facts
        ranks, special = self._ranks.by_token(), dict(facts.special_tokens)
        return Encoding(facts.name, pat_str=facts.pattern, mergeable_ranks=ranks, special_tokens=special)
