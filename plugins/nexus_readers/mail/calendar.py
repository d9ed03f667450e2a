"""Reads calendars: what happens when and where (.ics, and invitations in mails)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from nexus_core import Block, Heading, Paragraph, Place, ReadHints, Remark, component
from nexus_core.toolkit import decode

_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)(Z?))?\Z")
_ESCAPE = re.compile(r"\\([nN;,\\])")
_PARAMETER = re.compile(r';([\w-]{1,40})=("[^"]*"|[^;:"]*)')
_SHOWN = {
    "DTSTART": "Begins", "DTEND": "Ends", "DUE": "Due", "DURATION": "Lasts", "RRULE": "Repeats", "LOCATION": "Place",
    "ORGANIZER": "Organizer", "ATTENDEE": "Attendee", "STATUS": "Status", "URL": "URL",
}  # fmt: skip
_ENTRIES = ("VEVENT", "VTODO", "VJOURNAL")
MOST_ATTENDEES = 50


@component
class CalendarReader:
    """Reads calendars in the format iCalendar."""

    version = "1"

    def read(self, file: BinaryIO, hints: ReadHints) -> Iterator[Block]:
        """Yield an entry as a heading and what is told of it."""
        decoded = decode(file.read(), hints.default_encoding, hints.encoding)
        if decoded.problem:
            yield Remark(text=decoded.problem)
        lines: list[tuple[int, str]] = []
        inside = ""
        for number, line in _unfolded(decoded.text.split("\n")):
            kind, _, name = line.strip().upper().partition(":")
            if kind == "BEGIN" and name in _ENTRIES:
                inside, lines = name, []
            elif kind == "END" and name == inside:
                yield from _entry(lines)
                inside = ""
            elif inside:
                lines.append((number, line))
        if inside:
            yield from _entry(lines)


def _unfolded(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Yield the lines with what goes on in the next ones, and where each begins."""
    held: list[str] = []
    begins = 1
    for number, line in enumerate(lines, 1):
        if line[:1] in (" ", "\t") and held:
            held.append(line[1:])
            continue
        if held:
            yield begins, "".join(held)
        held, begins = [line], number
    if held:
        yield begins, "".join(held)


def _entry(lines: list[tuple[int, str]]) -> Iterator[Block]:
    facts: list[str] = []
    summary, texts, attendees, inner = "", list[str](), 0, 0
    for _, line in lines:
        name, parameters, value = _property(line)
        inner += (name == "BEGIN") - (name == "END")
        if inner or name == "END" or not value:
            continue  # an alarm inside of the entry
        if name == "SUMMARY":
            summary = " ".join(value.split())
        elif name in ("DESCRIPTION", "COMMENT"):
            texts += (piece.strip() for piece in value.split("\n\n"))
        elif name in _SHOWN:
            attendees += name == "ATTENDEE"
            if attendees <= MOST_ATTENDEES or name != "ATTENDEE":
                facts.append(f"{_SHOWN[name]}: {_shown(value, parameters)}")
    place = Place(line=lines[0][0] if lines else None)
    yield Heading(text=summary or "Entry", implied=not summary, level=1, place=place)
    if facts:
        yield Paragraph(text="; ".join(facts), place=place)
    yield from (Paragraph(text=text, place=place) for text in texts if text)


def _property(line: str) -> tuple[str, dict[str, str], str]:
    """Return name, parameters and value of a line, such as `DTSTART;TZID=Europe/Vienna:20260105T090000`."""
    name = re.match(r"[\w-]{0,60}", line)
    at = name.end() if name else 0
    parameters = {}
    while found := _PARAMETER.match(line, at):
        parameters[found[1].upper()] = found[2].strip('"')
        at = found.end()
    value = _ESCAPE.sub(lambda escape: "\n" if escape[1] in "nN" else escape[1], line[at:].removeprefix(":"))
    return line[: name.end() if name else 0].upper(), parameters, value


def _shown(value: str, parameters: dict[str, str]) -> str:
    """Return a value as people read it: times in ISO 8601 with their zone, persons with their names."""
    time = _TIME.match(value)
    if time:
        clock = f" {time[4]}:{time[5]}" if time[4] else ""
        zone = " UTC" if time[7] else f" {parameters['TZID']}" if clock and "TZID" in parameters else ""
        return f"{time[1]}-{time[2]}-{time[3]}{clock}{zone}"
    person = value[7:] if value[:7].lower() == "mailto:" else value
    named = f"{parameters['CN']} <{person}>" if parameters.get("CN", person) != person else person
    return " ".join(named.split())
