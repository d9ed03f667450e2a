"""Numbers of a sheet as it shows them, by the codes of their formats: dates (as ISO 8601), percents, currencies."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import lru_cache

from attrs import evolve, frozen

_BUILT_IN = {
    1: "0", 2: "0.00", 3: "#,##0", 4: "#,##0.00", 9: "0%", 10: "0.00%", 11: "0.00E+00", 14: "yyyy-mm-dd",
    15: "d-mmm-yy", 16: "d-mmm", 17: "mmm-yy", 18: "h:mm AM/PM", 19: "h:mm:ss AM/PM", 20: "h:mm", 21: "h:mm:ss",
    22: "yyyy-mm-dd h:mm", 37: "#,##0", 38: "#,##0", 39: "#,##0.00", 40: "#,##0.00", 45: "mm:ss", 46: "[h]:mm:ss",
    47: "mm:ss", 48: "0.0E+0",
    **dict.fromkeys((*range(27, 32), 36, *range(50, 59)), "yyyy-mm-dd"), 32: "h:mm", 33: "h:mm:ss",
}  # fmt: skip
"""By the numbers that stand for them; those from 27 on are dates of East Asian versions."""
_PARTS = re.compile(r'"([^"]*)"|\\(.)|_.|\*.|\[([^\]]*)\]|(General)|(AM/PM|A/P)|(.)', re.IGNORECASE | re.DOTALL)
_CURRENCY = re.compile(r"\$([^-]*)(?:-.*)?")
_LONGEST_CODE = 255
_LAST_DAY = 2_958_466
"""After the year 9999 there are no dates."""
_MOST_DECIMALS = 20


@frozen(kw_only=True)
class NumberFormat:
    """How a number is shown."""

    date: str = ""
    """`date`, `time`, `both` or `elapsed`; empty where it is no date."""
    decimals: int | None = None
    """None: as many as there are."""
    thousands: bool = False
    percent: bool = False
    scale: int = 0
    """How many times a thousand is taken from it."""
    before: str = ""
    after: str = ""
    width: int = 0
    """At least so many digits before the point: `00501` is a postal code."""
    pattern: str = ""
    """What stands between the digits of a whole number, each of them a `0`: `000-00-0000`."""

    def shown(self, text: str, *, from_1904: bool = False) -> str:
        """Return a number, as files write it, as it is shown."""
        try:
            number = float(text)
        except ValueError:
            return text
        if self.date:
            return _date(number, self.date, from_1904) or text
        if self.pattern and number.is_integer() and 0 <= number < 1e15:
            return _in_pattern(str(int(number)), self.pattern)
        if self.decimals is None and not self.percent:
            return f"{self.before}{_plain(text, number)}{self.after}"
        number = number * (100 if self.percent else 1) / 1000**self.scale
        if abs(number) >= 1e21:
            return text
        written = f"{number:{',' if self.thousands else ''}.{self.decimals or 0}f}"
        sign, written = ("-", written[1:]) if written.startswith("-") else ("", written)
        if self.width > 1 and not self.thousands:
            written = written.zfill(self.width + (1 + self.decimals if self.decimals else 0))
        return f"{sign}{self.before}{written}{'%' if self.percent else ''}{self.after}"


GENERAL = NumberFormat()


def built_in_format(number: int) -> NumberFormat:
    """Return the format that a number of a built-in one stands for."""
    return number_format(_BUILT_IN.get(number, "General"))


@lru_cache(maxsize=512)
def number_format(code: str) -> NumberFormat:
    """Return the format that a code stands for: `0.0%`, `#,##0.00 "EUR"`, `dd.mm.yyyy`."""
    signs: list[str] = []
    literals, pattern = [("", "")], [""]
    kinds = set[str]()
    for match in _PARTS.finditer(_first_section(code[:_LONGEST_CODE])):
        quoted, escaped, bracket, general, noon, sign = match.groups()
        said = quoted or escaped or ""
        if bracket is not None:
            currency = _CURRENCY.fullmatch(bracket)
            said = currency[1] if currency else ""
            kinds.update({"elapsed"} if bracket.lower() in ("h", "hh", "m", "mm", "s", "ss") else ())
        if noon:
            kinds.add("time")
        if general:
            signs.append("G")
        elif sign and (sign in "0#?.,%Ee" or (sign in "+-/" and signs[-1:] in (["E"], ["e"], ["?"], ["#"]))):
            signs.append(sign)
        elif sign and sign.lower() in "ymdhsgb":
            kinds.add({"y": "date", "d": "date", "g": "date", "b": "date", "m": "m"}.get(sign.lower(), "time"))
        elif sign:
            said = sign if sign not in "()@" else ""
        pattern.append(sign if sign and sign in "0()" else said)
        literals.append((said, "") if not signs else ("", said))
    found = _format_of("".join(signs), "".join(a for a, _ in literals), "".join(b for _, b in literals), kinds)
    inner = "".join(pattern)
    is_pattern = set(signs) == {"0"} and re.search(r"0[^0]+0", inner) and not found.date
    return evolve(found, pattern=inner.strip()) if is_pattern else found


def _format_of(signs: str, before: str, after: str, kinds: set[str]) -> NumberFormat:
    if kinds:
        both = {"date", "time"} <= kinds
        date = "elapsed" if "elapsed" in kinds else "both" if both else "time" if "time" in kinds else "date"
        return NumberFormat(date=date)
    before, after = before.lstrip(), after.rstrip()
    if "G" in signs or not signs or "E" in signs.upper() or "/" in signs:
        return NumberFormat(before=before, after=after)
    whole, _, fraction = signs.partition(".")
    decimals = sum(sign in "0#?" for sign in fraction)
    digits = whole.rstrip("%").rstrip(",") if not fraction else whole
    scale = (
        len(whole.rstrip("%")) - len(digits)
        if not fraction
        else len(fraction.rstrip("%")) - len(fraction.rstrip("%").rstrip(","))
    )
    return NumberFormat(
        decimals=min(decimals, _MOST_DECIMALS), thousands="," in digits, percent="%" in signs, scale=min(scale, 4),
        before=before, after=after, width=digits.count("0"),
    )  # fmt: skip


def _in_pattern(digits: str, pattern: str) -> str:
    """Return digits in the places of the zeros of a pattern, those that are too many before the first."""
    places = pattern.count("0")
    left = iter(digits.zfill(places)[len(digits.zfill(places)) - places :])
    more = digits[: max(0, len(digits) - places)]
    filled = "".join(next(left, "") if character == "0" else character for character in pattern)
    return more + filled


def _first_section(code: str) -> str:
    """Return the part of a code for positive numbers: up to a semicolon that is not quoted."""
    quoted = False
    for at, character in enumerate(code):
        quoted ^= character == '"'
        if character == ";" and not quoted and code[at - 1 : at] != "\\":
            return code[:at] or code[at + 1 :]
    return code


def _plain(text: str, number: float) -> str:
    """Return a number in full, without the last digits that binary fractions leave: 0.1 + 0.2 is 0.3."""
    if text.lstrip("-").isdigit():
        return text
    written = f"{number:.15g}"
    if "e" in written and 1e-7 < abs(number) < 1e21:
        written = f"{number:.20f}".rstrip("0").rstrip(".")
    return written


def _date(number: float, kind: str, from_1904: bool) -> str:
    if kind == "elapsed":
        minutes, seconds = divmod(round(number * 86_400), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}" if abs(number) < _LAST_DAY else ""
    if not 0 <= number < _LAST_DAY:
        return ""
    if from_1904:
        number += 1462
    # The calendar of sheets has a 29th of February 1900, which there was not.
    first = datetime(1899, 12, 31) if number < 60 else datetime(1899, 12, 30)
    try:
        moment = first + timedelta(seconds=round(number * 86_400))
    except OverflowError:
        return ""
    time = moment.strftime("%H:%M:%S" if moment.second else "%H:%M")
    if kind == "time":
        return time
    has_time = kind == "both" and (moment.hour or moment.minute or moment.second)
    return f"{moment:%Y-%m-%d} {time}" if has_time else f"{moment:%Y-%m-%d}"
