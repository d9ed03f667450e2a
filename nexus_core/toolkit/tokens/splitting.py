"""Cuts text where a tokenizer always cuts, so that the counts of the pieces add up to the count of the whole.

Read off the patterns of o200k_base and cl100k_base (encodings.py), a word always ends
- between a character that is not white and white space that is no line break: white space stands at the start of a
  word, or makes one alone;
- after the last line break of a run of white space, unless `/` follows, which o200k_base takes into the same word;
- between a letter and what is neither letter, mark nor apostrophe; between a digit and what is no digit.
The first two hold line and sentence ends; the third is for text without spaces: addresses, base64, minified code,
Chinese.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import count

PIECE_LIMIT = 1000
"""Characters; no longer piece is given to a tokenizer, whatever the text."""

_LINE_END = re.compile(r"\n(?=[ \t]*[^\s/])")
_SENTENCE_ENDS = (". ", "! ", "? ", "] ")


def sentences(text: str) -> list[str]:
    """Return the sentences of `text`: what line breaks divide, and a stop, question or exclamation mark and a space.

    The space starts the next one; blank lines go with the line before. A closing bracket divides too: the number of an
    item differs from prompt to prompt, the title after it does not.
    """
    # A mark is put in each place and the text cut there: a quarter of the time that a pattern takes.
    mark = next(mark for mark in map(chr, count()) if mark not in text)
    text = _LINE_END.sub(f"\n{mark}", text)
    for end in _SENTENCE_ENDS:
        text = text.replace(end, f"{end[0]}{mark} ")
    return text.split(mark)


def short_pieces(text: str) -> Iterator[tuple[str, bool]]:
    """Yield pieces of at most `PIECE_LIMIT` characters, and whether a word surely ends where the piece does."""
    start = 0
    while len(text) - start > PIECE_LIMIT:
        found = _sure().match(text, start)
        end = found.end() if found else start + PIECE_LIMIT
        yield text[start:end], found is not None
        start = end
    yield text[start:], True


@lru_cache
def _sure() -> re.Pattern[str]:
    """Return what finds the last sure end within the limit; compiled where it is needed, which is seldom."""
    return re.compile(
        rf"""(?s:.){{0,{PIECE_LIMIT - 1}}}(?:
      \S(?=[ \t])
    | [A-Za-z](?=[^A-Za-z'\x80-\U0010ffff])
    | [0-9](?=[^0-9\x80-\U0010ffff])
    | [\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff](?=[\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f])
    )""",
        re.VERBOSE,
    )
