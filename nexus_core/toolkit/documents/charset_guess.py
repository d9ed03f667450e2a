"""Guesses the encoding of a text that tells nothing of it: charset-normalizer's candidates, and the look of the words.

What charset-normalizer finds equally likely is told apart by what no language writes: words whose letters are of
several scripts, capitals after small letters, and signs within words.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from importlib import import_module

_CANDIDATES = (
    "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp874", "cp866",
    "koi8_r", "koi8_u", "iso8859_2", "iso8859_5", "mac_roman", "mac_cyrillic", "cp850",
    "gb18030", "big5", "cp932", "euc_jp", "cp949",
)  # fmt: skip
"""What text was written in before UTF-8, by the names of Python."""
_NAMES = {
    "cp1252": "windows-1252", "cp1250": "windows-1250", "cp1251": "windows-1251", "cp1253": "windows-1253",
    "cp1254": "windows-1254", "cp1255": "windows-1255", "cp1256": "windows-1256", "cp1257": "windows-1257",
    "cp1258": "windows-1258", "cp874": "windows-874", "cp932": "shift_jis", "cp949": "euc-kr",
    "iso8859_2": "iso-8859-2", "iso8859_5": "iso-8859-5",
}  # fmt: skip
_PYTHON = {"shift_jis": "cp932", "euc-kr": "cp949", "windows-874": "cp874"}
_SAMPLE = 16_384
"""Bytes that are looked at: lines that are not ASCII."""
_MOST_STRANGE = 0.35
"""A text beyond this share of strange characters is in none of the encodings."""
_WORD = re.compile(r"\w+")
_EAST = frozenset({"CJK", "HIRAGANA", "KATAKANA", "HANGUL"})
_FREQUENT = {
    "CYRILLIC": frozenset("оеаинтсрвлукі"), "GREEK": frozenset("αοιετσςνηυρω"), "HEBREW": frozenset("יוהלאתמרבשנ"),
    "ARABIC": frozenset("اليمنورتبةه"),
}  # fmt: skip
"""The letters that make up most of any text in a script."""
_LATIN = tuple(map(frozenset, (
    "äöüß", "éèêëàâçîïôùûœ", "áéíóúñü", "ãõáéíóúâêôçà", "àèéìòù", "æøåéöä", "áéíóúýþæöð", "àèéíïòóúüç", "ëïéèöü",
    "áčďéěíňóřšťúůýžöü", "áäčďéíĺľňóôŕšťúýž", "ąćęłńóśźż", "áéíóöőúüű", "ăâîșțşţ", "čćđšž", "çğıöşüâîi̇", "ąčęėįšųūž",
    "āčēģīķļņšūž", "äõöüšž", "ăâđêôơư",
)))  # fmt: skip
"""The letters beyond ASCII of languages in Latin script, each as one text has them together."""
_FINE_SIGNS = frozenset("«»“”‘’„‚‹›–—…•·°§©®™€£¥¿¡´`¨、。「」『』・ー！？（），．：；《》〈〉【】　〜～²³½¼¾±×÷№¶ ªº")


def guess(data: bytes) -> str:
    """Return the encoding that a text is most likely in, by the name of Python; empty where it looks like none."""
    sample = _sample(data)
    matches = import_module("charset_normalizer").from_bytes(sample, cp_isolation=list(_CANDIDATES))
    names = list(
        dict.fromkeys(name for match in matches for name in match.could_be_from_charset if name in _CANDIDATES)
    )
    ranked = sorted(
        (round(_strangeness(text), 2), name != "cp1252", place, name)
        for place, name in enumerate(dict.fromkeys([*names, *_CANDIDATES]))
        if (text := _read(sample, name))
    )
    best = next((name for strange, *_, name in ranked if strange <= _MOST_STRANGE and _read(data, name)), "")
    if best and _read(sample, best) == _read(sample, "cp1252"):
        best = "cp1252"  # the usual one of those that give the same text
    return _NAMES.get(best, best.replace("_", "-"))


def python_name(name: str) -> str:
    """Return what Python calls a guessed encoding: with the characters that it was extended by."""
    return _PYTHON.get(name, name)


def _sample(data: bytes) -> bytes:
    """Return lines with bytes beyond ASCII: what else there is tells nothing."""
    lines: list[bytes] = []
    room = _SAMPLE
    for line in data[: 64 * _SAMPLE].splitlines(keepends=True):
        if not line.isascii():
            lines.append(line[:room])
            room -= len(line)
            if room <= 0:
                break
    return b"".join(lines)


def _read(data: bytes, name: str) -> str:
    try:
        return data.decode(name)
    except UnicodeDecodeError as error:
        # A sample may be cut within a character; windows-1252 has no character for five bytes.
        return data[: error.start].decode(name) if error.start > len(data) - 4 and len(data) >= _SAMPLE else ""


def _strangeness(text: str) -> float:
    """Return the share of characters beyond ASCII that are not as any language writes them; less for what is sure."""
    beyond = sum(character > "\x7f" for character in text)
    strange = sum(character > "\x7f" and _is_odd(character) for character in text)
    counted: dict[str, int] = {}
    for word in _WORD.findall(text):
        if not word.isascii():
            strange += _odd_in(word, counted)
    east = sum(counted.get(script, 0) for script in _EAST)
    bonus = 0.0
    if east:
        kana = counted.get("HIRAGANA", 0) + counted.get("KATAKANA", 0)
        hangul = counted.get("HANGUL", 0)
        strange += min(hangul, east - hangul)  # today's Korean has next to no Chinese characters
        bonus = 0.1 if kana > 0.2 * east and not hangul else 0.0
    for script, frequent in _FREQUENT.items():
        if total := counted.get(script, 0):
            usual = sum(_base(character) in frequent for character in text if _script(character) == script)
            strange += round(max(0.0, 0.55 * total - usual))
            bonus = 0.1 * usual / total if usual >= 0.55 * total else bonus
    if latin := [character for character in text.lower() if character > "\x7f" and _script(character) == "LATIN"]:
        strange += len(latin) - max(sum(character in letters for character in latin) for letters in _LATIN)
        bonus = 0.05
    return strange / max(1, beyond) - bonus


def _odd_in(word: str, counted: dict[str, int]) -> int:
    odd = 0
    before, script_before = "", ""
    for character in word:
        script = _script(character)
        if script:
            counted[script] = counted.get(script, 0) + 1
            same = script == script_before or not script_before or (script in _EAST and script_before in _EAST)
            odd += not same and "LATIN" in (script, script_before) and script not in _EAST
            odd += not same and "LATIN" not in (script, script_before)
            odd += character > "\x7f" and character.isupper() and before.islower()
            script_before = script
        before = character
    return odd


@lru_cache(maxsize=4096)
def _script(character: str) -> str:
    if character < "\x80":
        return "LATIN" if character.isalpha() else ""
    name = unicodedata.name(character, "")
    first = name.partition(" ")[0]
    return "KATAKANA" if first == "HALFWIDTH" else first if character.isalpha() or first in ("THAI", "ARABIC") else ""


@lru_cache(maxsize=4096)
def _base(character: str) -> str:
    """Return a letter without its marks, small."""
    return unicodedata.normalize("NFD", character.lower())[0]


@lru_cache(maxsize=4096)
def _is_odd(character: str) -> bool:
    """Tell whether a character is a sign that prose has no use for, such as a part of a frame."""
    if character in _FINE_SIGNS:
        return False
    name = unicodedata.name(character, "")
    return not unicodedata.category(character).startswith(("L", "M", "N")) or name.startswith("HALFWIDTH")
