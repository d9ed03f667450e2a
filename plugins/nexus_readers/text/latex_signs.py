"""The commands of LaTeX: signs and letters, and what others are there for."""

from __future__ import annotations

import re
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
SECTIONS = ("part", "chapter", "section", "subsection", "subsubsection", "paragraph", "subparagraph")
FORMULAS = frozenset(
    {"equation", "align", "gather", "multline", "eqnarray", "displaymath", "math", "alignat", "flalign"}
)
CODE = frozenset({"verbatim", "lstlisting", "minted", "Verbatim", "alltt", "listing", "pyglist"})
TABLES = frozenset({"tabular", "tabularx", "longtable", "tabulary", "array", "tabbing"})
UNSEEN = frozenset({"tikzpicture", "pgfpicture", "comment", "filecontents", "picture", "thebibliography-options"})
DROPPED = frozenset({
    "label", "usepackage", "documentclass", "vspace", "hspace", "includegraphics", "bibliographystyle", "bibliography",
    "input", "include", "newcommand", "renewcommand", "providecommand", "newenvironment", "newtheorem", "setlength",
    "pagestyle", "thispagestyle", "setcounter", "addcontentsline", "hypersetup", "color", "definecolor", "geometry",
    "index", "pagenumbering", "addtolength", "addtocounter", "graphicspath", "RequirePackage", "PassOptionsToPackage",
    "DeclareMathOperator", "lstset", "selectlanguage", "fontsize", "captionsetup", "nocite", "printbibliography",
    "addbibresource", "usetikzlibrary", "rule", "phantom", "hphantom", "vphantom", "markboth", "title", "author",
    "date",
})  # fmt: skip
WRAPPED = {
    "texttt": ("`", "`"), "textsuperscript": ("^", ""), "textsubscript": ("_", ""), "sout": ("~~", "~~"),
    "st": ("~~", "~~"), "cite": ("[", "]"), "citep": ("[", "]"), "citet": ("[", "]"), "parencite": ("[", "]"),
    "enquote": ("“", "”"), "code": ("`", "`"), "path": ("`", "`"),
}  # fmt: skip
PUNCTUATION = {"``": "“", "''": "”", "---": "—", "--": "–", '"`': "„", "\"'": "“"}
STYLED = frozenset({
    "colorbox", "foreignlanguage", "hyperref", "parbox", "raisebox", "resizebox", "scalebox", "textcolor",
})  # fmt: skip
UNITS = {
    "kilo": "k", "milli": "m", "micro": "µ", "centi": "c", "nano": "n", "mega": "M", "giga": "G", "tera": "T",
    "hecto": "h", "deci": "d", "pico": "p", "gram": "g", "metre": "m", "meter": "m", "second": "s", "litre": "l",
    "liter": "l", "ampere": "A", "volt": "V", "watt": "W", "hertz": "Hz", "newton": "N", "pascal": "Pa", "joule": "J",
    "kelvin": "K", "mole": "mol", "celsius": "°C", "degreeCelsius": "°C", "degree": "°", "percent": "%", "ohm": "Ω",
    "hour": "h", "minute": "min", "day": "d", "per": "/", "squared": "^2", "cubed": "^3", "square": "", "bit": "bit",
    "byte": "B", "kg": "kg", "bar": "bar", "tonne": "t", "euro": "€",
}  # fmt: skip
"""The names of units in siunitx, and their signs."""
_LETTER = re.compile(r"[ \t]*(?:\{[ \t]*(?:\\([A-Za-z]+)|([^\W\d_]?))[ \t]*\}|\\([ij])(?![A-Za-z])[ \t]*|([^\W\d_]))")


def is_accent(name: str) -> bool:
    """Tell whether a command puts a mark on the letter that follows."""
    return name in _ACCENTS


def accented(name: str, letter: str) -> str:
    """Return a letter with the mark that a command puts on it."""
    letter = _DOTLESS.get(letter, letter)
    if not letter:
        return name if not name.isalpha() else ""
    return unicodedata.normalize("NFC", letter[0] + _ACCENTS[name]) + letter[1:]


def matched_braces(text: str) -> dict[int, int]:
    """Return where each opening brace is closed."""
    found: dict[int, int] = {}
    opened: list[int] = []
    for brace in re.finditer(r"\\.|[{}]", text, re.DOTALL):
        if brace[0] == "{":
            opened.append(brace.start())
        elif brace[0] == "}" and opened:
            found[opened.pop()] = brace.start()
    return found


def letter_at(text: str, at: int) -> tuple[str, int]:
    """Return the letter that an accent at a place is put on, and where what follows it begins."""
    found = _LETTER.match(text, at)
    if found is None:
        return "", at
    return SIGNS.get(found[1] or found[3] or "", "") or found[2] or found[4] or "", found.end()
