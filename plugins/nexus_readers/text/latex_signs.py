"""The signs and letters that LaTeX has commands for."""

from __future__ import annotations

import unicodedata

SIGNS = {
    "ldots": "…", "dots": "…", "textellipsis": "…", "LaTeX": "LaTeX", "TeX": "TeX", "BibTeX": "BibTeX", "S": "§",
    "P": "¶", "copyright": "©", "textcopyright": "©", "textregistered": "®", "texttrademark": "™", "euro": "€",
    "texteuro": "€", "EUR": "€", "pounds": "£", "textsterling": "£", "textdegree": "°", "degree": "°", "ss": "ß",
    "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "o": "ø", "O": "Ø", "aa": "å", "AA": "Å", "l": "ł", "L": "Ł", "i": "ı",
    "j": "ȷ", "dh": "ð", "DH": "Ð", "th": "þ", "TH": "Þ", "dj": "đ", "DJ": "Đ", "ng": "ŋ", "textbackslash": "\\",
    "textasciitilde": "~", "textasciicircum": "^", "textbar": "|", "textless": "<", "textgreater": ">",
    "textquotedblleft": "“", "textquotedblright": "”", "textquoteleft": "‘", "textquoteright": "’", "textendash": "–",
    "textemdash": "—", "textbullet": "•", "textperiodcentered": "·", "textunderscore": "_", "textdollar": "$",
    "guillemotleft": "«", "guillemotright": "»", "glqq": "„", "grqq": "“", "flqq": "«", "frqq": "»", "og": "«",
    "fg": "»", "textmu": "µ", "textpm": "±", "texttimes": "×", "textohm": "Ω", "quad": " ", "qquad": " ", "space": " ",
    "newline": " ", "par": " ", "linebreak": " ", "and": ", ", "dag": "†", "ddag": "‡", "slash": "/", "lbrack": "[",
    "textonehalf": "½", "textonequarter": "¼", "textthreequarters": "¾", "textonesuperior": "¹",
    "texttwosuperior": "²",
    "textthreesuperior": "³", "textleftarrow": "←", "textrightarrow": "→", "textuparrow": "↑", "textdownarrow": "↓",
    "textexclamdown": "¡", "textquestiondown": "¿", "textdiv": "÷", "textminus": "−", "textsurd": "√", "textyen": "¥",
    "textcent": "¢", "textwon": "₩", "textcurrency": "¤", "textsection": "§", "textparagraph": "¶",
    "textbrokenbar": "¦",
    "textdagger": "†", "textdaggerdbl": "‡", "textcelsius": "°C", "textordfeminine": "ª", "textordmasculine": "º",
    "textestimated": "℮", "textnumero": "№", "textasciimacron": "¯", "textasciiacute": "´",
    "textasciigrave": "`",
    "textasciidieresis": "¨", "textcopyleft": "©", "textservicemark": "℠", "textopenbullet": "◦", "textbigcircle": "◯",
    "textmusicalnote": "♪", "textdied": "†", "textborn": "*", "textmarried": "⚭", "textdivorced": "⚮", "textleaf": "❧",
    "ogonek": "˛", "SS": "ẞ", "NG": "Ŋ", "IJ": "Ĳ", "ij": "ĳ", "textemspace": " ", "thinspace": " ",
    "enspace": " ", "hfill": " ", "dotfill": " ", "hrulefill": " ", "hskip": " ", "medskip": " ", "bigskip": " ",
    "smallskip": " ", "rbrack": "]", "textperthousand": "‰", "checkmark": "✓", "textquotesingle": "'",
    "textquotedbl": '"',
}  # fmt: skip
_ACCENTS = {
    '"': "\u0308", "'": "\u0301", "`": "\u0300", "^": "\u0302", "~": "\u0303", "=": "\u0304", ".": "\u0307",
    "u": "\u0306", "v": "\u030c", "H": "\u030b", "c": "\u0327", "d": "\u0323", "b": "\u0331", "k": "\u0328",
    "r": "\u030a", "t": "\u0361",
}  # fmt: skip
_DOTLESS = {"ı": "i", "ȷ": "j"}


def is_accent(name: str) -> bool:
    """Tell whether a command puts a mark on the letter that follows."""
    return name in _ACCENTS


def accented(name: str, letter: str) -> str:
    """Return a letter with the mark that a command puts on it."""
    letter = _DOTLESS.get(letter, letter)
    if not letter:
        return name if not name.isalpha() else ""
    return unicodedata.normalize("NFC", letter[0] + _ACCENTS[name]) + letter[1:]
