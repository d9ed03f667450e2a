"""Reads subtitles, SubRip and WebVTT: what is said, joined to sentences; each stretch of minutes tells its times."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import BinaryIO, NamedTuple

from nexus_core import Block, Heading, Paragraph, Place, ReadHints, component
from nexus_readers.text.source_text import read_text

_TIME = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})[,.](\d{1,3})"
_TIMES = re.compile(rf"[ \t]*{_TIME}[ \t]*-->[ \t]*{_TIME}")
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?[ \t]+([^<>]{1,100})>")
_TAG = re.compile(r"</?[A-Za-z0-9:.][^<>]{0,200}>|\{\\[^{}]{0,200}\}")
_ENDS = re.compile(r"[.!?…。！？][\"'”’)\]]*$")
STRETCH_S = 120
"""What is said in so many seconds stands under one heading, which tells the time."""
_PAUSE_S = 4.0
_LONG = 700
"""Characters after which a paragraph ends with the next sentence."""


class _Cue(NamedTuple):
    begin_s: float
    end_s: float
    text: str
    line: int


@component
class SubtitleReader:
    """Reads SubRip and WebVTT."""

    version = "1"

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield the blocks."""
        source = read_text(file, hints)
        yield from source.remarks()
        cues = list(_cues(source.text.split("\n")))
        if not cues and source.text.strip():
            yield Paragraph(text=" ".join(source.text.split()), place=Place(line=1))
        for stretch in _stretches(cues):
            begin, end = clock(stretch[0].begin_s), clock(max(cue.end_s for cue in stretch))
            values = {"from": begin, "to": end}
            yield Heading(text=f"{begin} to {end}", implied=True, values=values, place=Place(line=stretch[0].line))
            yield from _paragraphs(stretch)


def clock(seconds: float) -> str:
    """Return a time as `01:02:03`."""
    whole = int(seconds)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"


def _cues(lines: list[str]) -> Iterator[_Cue]:
    at = 0
    shown: list[str] = []
    while at < len(lines):
        times = _TIMES.match(lines[at]) if "-->" in lines[at] else None
        at += 1
        if times is None:
            continue
        begin = at
        while at < len(lines) and lines[at].strip() and not _is_next(lines, at):
            at += 1
        said = [words for line in lines[begin:at] if (words := _words(line))]
        fresh = [words for words in said if words not in shown]  # captions that scroll show each line twice
        shown = said
        if fresh:
            numbers = [int(part or 0) for part in times.groups()]
            yield _Cue(_seconds(numbers[:4]), _seconds(numbers[4:]), " ".join(fresh), begin)


def _is_next(lines: list[str], at: int) -> bool:
    """Tell whether the next cue begins here, without a blank line before it."""
    below = lines[at + 1] if at + 1 < len(lines) else ""
    return "-->" in lines[at] or (lines[at].strip().isdecimal() and _TIMES.match(below) is not None)


def _seconds(numbers: list[int]) -> float:
    return numbers[0] * 3600 + numbers[1] * 60 + numbers[2] + numbers[3] / 1000


def _words(line: str) -> str:
    if "<" in line or "{" in line:
        line = _TAG.sub("", _VOICE.sub(r"\1: ", line))
    return " ".join(unescape(line).split())


def _stretches(cues: list[_Cue]) -> Iterator[list[_Cue]]:
    """Yield the cues of some minutes each, cut where a sentence ends or somebody pauses."""
    held: list[_Cue] = []
    for cue in cues:
        if held and cue.begin_s - held[0].begin_s >= STRETCH_S:
            late = cue.begin_s - held[0].begin_s >= 2 * STRETCH_S
            if late or _ENDS.search(held[-1].text) or cue.begin_s - held[-1].end_s >= _PAUSE_S:
                yield held
                held = []
        held.append(cue)
    if held:
        yield held


def _paragraphs(cues: list[_Cue]) -> Iterator[Block]:
    held: list[_Cue] = []
    size = 0
    for cue in cues:
        ended = held and _ENDS.search(held[-1].text)
        if held and (
            cue.begin_s - held[-1].end_s >= _PAUSE_S or (ended and size > _LONG) or cue.text[:2] in ("- ", "– ")
        ):
            yield _paragraph(held)
            held, size = [], 0
        held.append(cue)
        size += len(cue.text)
    if held:
        yield _paragraph(held)


def _paragraph(cues: list[_Cue]) -> Paragraph:
    text = " ".join(cue.text for cue in cues)
    return Paragraph(text=text, place=Place(line=cues[0].line, last_line=cues[-1].line + 1))
