"""What has to be known of an encoding besides its tokens: how it cuts text into words, its special tokens, its hashes.

Patterns, special tokens and the hashes of the rank files are facts of tiktoken (MIT), `tiktoken_ext/openai_public.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen


@frozen(kw_only=True)
class EncodingFacts:
    """One encoding of the OpenAI models."""

    name: str
    pattern: str
    """How text is cut into words, in the dialect of tiktoken."""
    common_pattern: str
    """The same for Python's `re`, right on texts of common characters only (see bpe.py)."""
    special_tokens: Mapping[str, int]
    """They are counted as the plain text they look like: what a user writes must not act as a control token."""
    rank_file_sha256: str
    """Of the rank file that tiktoken downloads."""
    packed_sha256: str
    """Of the same ranks as they are packaged here."""


# Unicode classes within the common characters: letters that are capital, small, neither; marks; numbers; white space.
_UPPER, _LOWER, _OTHER = "A-ZÀ-ÖØ-Þ", "a-zµß-öø-ÿ", "ªº"
_MARK = "\u0300-\u036f\ufe0f"
_NUMBER = "0-9²³¹¼½¾"
_WHITE = r" \t\n\x0b\x0c\r\x85\xa0"
_LETTER = _UPPER + _LOWER + _OTHER
_ENDING = r"'(?:[sStTmMdD]|[lL][lL]|[vV][eE]|[rR][eE])"

_CL100K_BASE = EncodingFacts(
    name="cl100k_base",
    pattern=(
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
        r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
    ),
    common_pattern=(
        rf"{_ENDING}|[^\r\n{_LETTER}{_NUMBER}]?+[{_LETTER}]++|[{_NUMBER}]{{1,3}}+"
        rf"| ?[^{_WHITE}{_LETTER}{_NUMBER}]++[\r\n]*+"
        rf"|[{_WHITE}]++\Z|[{_WHITE}]*[\r\n]|[{_WHITE}]+(?![^{_WHITE}])|[{_WHITE}]"
    ),
    special_tokens={
        "<|endoftext|>": 100257,
        "<|fim_prefix|>": 100258,
        "<|fim_middle|>": 100259,
        "<|fim_suffix|>": 100260,
        "<|endofprompt|>": 100276,
    },
    rank_file_sha256="223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    packed_sha256="7b73f6bd27b839f8bc3565856704429c5fe536814c86b50073f84a4534b073e3",
)

_O200K_BASE = EncodingFacts(
    name="o200k_base",
    pattern="|".join(
        [
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
            r"\p{N}{1,3}",
            r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
            r"\s*[\r\n]+",
            r"\s+(?!\S)",
            r"\s+",
        ]
    ),
    common_pattern="|".join(
        [
            rf"[^\r\n{_LETTER}{_NUMBER}]?[{_UPPER}{_OTHER}{_MARK}]*[{_LOWER}{_OTHER}{_MARK}]+(?:{_ENDING})?",
            rf"[^\r\n{_LETTER}{_NUMBER}]?[{_UPPER}{_OTHER}{_MARK}]+[{_LOWER}{_OTHER}{_MARK}]*(?:{_ENDING})?",
            rf"[{_NUMBER}]{{1,3}}",
            rf" ?[^{_WHITE}{_LETTER}{_NUMBER}]+[\r\n/]*",
            rf"[{_WHITE}]*[\r\n]+",
            rf"[{_WHITE}]+(?![^{_WHITE}])",
            rf"[{_WHITE}]+",
        ]
    ),
    special_tokens={"<|endoftext|>": 199999, "<|endofprompt|>": 200018},
    rank_file_sha256="446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    packed_sha256="26841d593fe0231f279f9234086bf92efa3d3fd0455ff452531ebade81b37830",
)

FACTS: Mapping[str, EncodingFacts] = {facts.name: facts for facts in (_O200K_BASE, _CL100K_BASE)}
