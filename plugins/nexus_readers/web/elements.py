"""What each element of HTML means for the text of its page."""

from __future__ import annotations

import re
from collections.abc import Callable

from selectolax.lexbor import LexborNode

from nexus_core import Code, Place
from nexus_readers.web.code import MOST_HOSTS, code_text, is_code_host, language_of, may_hold_code, tells_numbers
from nexus_readers.web.flow import MOST_FIGURES, Frame, OpenFigure
from nexus_readers.web.formulas import clean_tex, formula_of, script_formula
from nexus_readers.web.handlers.forms import button, choice, field_value, gauge, text_area
from nexus_readers.web.handlers.table_parts import cell, row, row_group, table_caption
from nexus_readers.web.lists import open_list, whole
from nexus_readers.web.notes import is_back_link
from nexus_readers.web.progress import Attributes, Opened, Progress
from nexus_readers.web.tables import MOST_NESTED

Handler = Callable[[Progress, LexborNode, Attributes], Opened]

_PERMALINKS = re.compile(
    r"(?:^|\s)(?:headerlink|anchor-?link|heading-anchor|header-anchor|anchorjs-link|hash-link|permalink)(?=$|\s)"
)
_NO_WORDS = re.compile(r"[\s#¶§🔗]*")
_FILE_NAME = re.compile(r"\S+\.(?:png|jpe?g|gif|svg|webp|avif|bmp)", re.IGNORECASE)
_TEX_IMAGE = re.compile(r"(?:^|\s)(?:latex|tex|math|mathjax)(?=$|\s)", re.IGNORECASE)
_DEEPEST_INNER = 3
_OWN_FOOTER = "address, a[href^='tel:'], a[href^='mailto:']"


def skip(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Pass over what nobody sees."""
    return False


def block(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read a block."""
    return at.block()


def division(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read a division, or code that has one for each line."""
    classes = said.get("class")
    if classes and at.hosts < MOST_HOSTS and may_hold_code(classes):
        if is_code_host(node):
            return _code_block(at, node)
        at.hosts += 1
        at.flow.boundary(soft=True)
        return at.end_host
    return at.soft_block()


def part(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read an article, section, or whatever may have a header and footer of its own."""
    at.flow.boundary()
    at.parts += 1

    def close() -> None:
        at.parts -= 1
        at.flow.boundary()

    return close


def footer(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read the footer of a part of a page; that of the page only where it has no part that is its content."""
    options = at.page.options
    if not at.parts and (options.main_text or (at.page.has_main and node.css_first(_OWN_FOOTER) is None)):
        return False
    return at.block()


def beside(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read a header or an aside, unless only the content of the page is wanted."""
    if at.page.options.main_text and (not at.parts or node.tag == "aside"):
        return False
    return at.block()


def navigation(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Pass over navigation, which says what other pages are called."""
    return at.block() if at.page.options.navigation else False


def dialog(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read a dialog that is open."""
    return part(at, node, said) if "open" in said else False


def heading(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read a heading."""
    name = node.tag or ""
    level = int(name[1]) if len(name) == 2 and name[1].isdigit() else 2
    level = max(1, min(whole(said.get("aria-level"), level), 99))
    opened = at.flow.begin_heading(level, said.get("id") or _anchor_above(at, node))

    def close() -> None:
        if at.flow.heading is opened:
            at.flow.end_heading()
        else:
            at.flow.boundary()

    return close


def _anchor_above(at: Progress, node: LexborNode) -> str:
    above = node.parent
    name = "" if above is None or above.tag in ("body", "html") else above.attributes.get("id") or ""
    if not name or name in at.anchors:
        return ""
    at.anchors.add(name)
    return name


def listing(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read a list."""
    at.flow.boundary()
    count = sum(child.tag == "li" for child in node.iter()) if "reversed" in said and "start" not in said else 0
    at.lists.append(open_list(node.tag == "ol", said, count))

    def close() -> None:
        at.flow.boundary()
        at.lists.pop()

    return close


def item(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read an item of a list."""
    at.flow.boundary()
    marker = at.lists[-1].marker(said.get("value")) if at.lists and node.tag != "dd" else "-"
    return at.framed(Frame("item", max(1, len(at.lists)), marker))


def quotation(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read a quotation."""
    at.flow.boundary()
    at.parts += 1
    depth = 1 + sum(frame.kind == "quotation" for frame in at.flow.frames[-16:])
    close_frame = at.framed(Frame("quotation", depth))

    def close() -> None:
        at.parts -= 1
        close_frame()

    return close


def figure(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read a figure with its caption."""
    at.flow.boundary()
    if len(at.flow.figures) >= MOST_FIGURES:
        return at.flow.boundary
    at.flow.figures.append(OpenFigure(len(at.flow.blocks)))
    at.parts += 1

    def close() -> None:
        at.parts -= 1
        at.flow.end_figure()

    return close


def figure_caption(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read the caption of a figure."""
    at.flow.boundary()
    if not at.flow.figures:
        return at.flow.boundary
    figure, begin = at.flow.figures[-1], len(at.flow.blocks)
    close_frame = at.framed(Frame())

    def close() -> None:
        close_frame()
        caption = at.flow.take_blocks(begin)
        figure.caption_first = figure.caption_first or (not figure.caption and begin == figure.begin)
        figure.caption = " ".join(filter(None, (figure.caption, caption)))

    return close


def table(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read a table."""
    classes = said.get("class")
    if classes and may_hold_code(classes) and len(at.flow.tables) < MOST_HOSTS and is_code_host(node):
        return _code_block(at, node)
    if len(at.flow.tables) >= MOST_NESTED:
        return at.block()
    at.flow.begin_table(said.get("role") in ("presentation", "none"))
    return at.flow.end_table


def preformatted(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read code, or what else must keep its lines."""
    return False if tells_numbers(said.get("class")) else _code_block(at, node)


def _code_block(at: Progress, node: LexborNode) -> Opened:
    at.flow.boundary()
    text = code_text(node, at.page.styles)
    if text:
        place = Place(line=at.flow.lines.line(text.partition("\n")[0]))
        at.flow.blocks.append(Code(text=text, language=language_of(node), place=place))
    return False


def code(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read code within a sentence, or code in lines of its own."""
    if _in_lines(node, said.get("style") or ""):
        return _code_block(at, node)
    if at.in_code or at.flow.heading is not None:
        return True
    at.in_code = True
    at.flow.text.open("code")

    def close() -> None:
        at.in_code = False
        at.flow.text.close()

    return close


def _in_lines(node: LexborNode, style: str) -> bool:
    """Tell whether code stands in lines of its own: by its style, or by what divides it."""
    set_apart = "block" in style and "inline" not in style
    child = node.first_child
    if not set_apart and "pre" not in style and (child is None or (child.tag == "-text" and child.next is None)):
        return False
    divided = node.css_first("div, p, br") is not None or ("pre" in style and "\n" in node.text().strip())
    return set_apart or divided


def raised(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read raised characters: the mark of a note, or a power."""
    note = at.page.notes.of_link(node)
    if note is not None:
        at.flow.text.add(f"[^{note.mark}]")
        at.flow.notes.append(note)
        return False
    at.flow.text.open("raised")
    return at.marked()


def lowered(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read lowered characters."""
    at.flow.text.open("lowered")
    return at.marked()


def struck(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read what is struck out."""
    at.flow.text.open("struck")
    return at.marked()


def quoted(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read a quotation within a sentence."""
    at.flow.text.open("quoted")
    return at.marked()


def link(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read a link: a mark of a note, a place's name, or words with an address."""
    target = (said.get("href") or "").strip()
    if at.flow.heading is not None:
        at.flow.heading.anchor = at.flow.heading.anchor or said.get("id") or said.get("name") or ""
    if not target or target.lower().startswith(("javascript:", "data:")):
        return True
    note = at.page.notes.of_link(node)
    if note is not None:
        at.flow.text.add(f"[^{note.mark}]")
        at.flow.notes.append(note)
        return False
    if _PERMALINKS.search(said.get("class") or "") or _is_no_text(at, node, said):
        return False
    text = at.flow.text
    text.links.append(target)
    label = said.get("aria-label") or ""
    text.open("note" if at.flow.heading is not None else "link", target)
    if label and target[0] != "#" and not (node.text() or "").strip() and node.css_first("img[alt]") is None:
        text.add(label)
    return at.marked()


def _is_no_text(at: Progress, node: LexborNode, said: Attributes) -> bool:
    """Tell whether a link only leads back from a note, or to the heading that it stands in."""
    if at.in_note:
        return is_back_link(said, node.text()[:40])
    if at.flow.heading is None or node.css_first("img") is not None:
        return False
    return bool(_NO_WORDS.fullmatch(node.text()[:40]))


def line_break(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """End a line."""
    at.flow.add_break()
    return False


def picture(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read what a picture shows, as far as the page tells."""
    words = " ".join((said.get("alt") or ("" if "alt" in said else said.get("title")) or "").split())
    classes = said.get("class") or ""
    if (
        not words
        or "mwe-math" in classes
        or said.get("role") in ("presentation", "none")
        or _FILE_NAME.fullmatch(words)
    ):
        return False
    if _TEX_IMAGE.search(classes):
        at.flow.text.add(f"${clean_tex(words)}$")
    else:
        at.flow.text.add_picture(words)
    return False


def drawing(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read the words in a drawing."""
    label = said.get("aria-label") or ""
    if not label and said.get("role") == "img":
        title = node.css_first("title")
        label = title.text() if title is not None else ""
    words = [" ".join(text.text().split()) for text in node.css("text, foreignObject")]
    found = " ".join(filter(None, (label.strip(), *words)))
    if found and said.get("role") not in ("presentation", "none"):
        at.flow.text.add_picture(found)
    return False


def formula(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read a formula."""
    at.flow.add_formula(formula_of(node))
    return False


def script(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Pass over scripts, but for formulas."""
    if at.page.scripted_formulas:
        found = script_formula(node)
        if found is not None:
            at.flow.add_formula(found)
    return False


def template(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read a shadow root; other templates are not shown."""
    if ("shadowrootmode" in said or "shadowroot" in said) and at.inner < _DEEPEST_INNER:
        at.inner += 1
        for fragment in node.template_fragments()[:1]:
            at.walk(fragment)
        at.inner -= 1
    return False


def frame(at: Progress, node: LexborNode, said: Attributes) -> Opened:
    """Read a page inside of this one, where the file holds it."""
    source = said.get("srcdoc") or at.page.options.frames.get((said.get("src") or "").strip(), "")
    if source and at.inner < _DEEPEST_INNER:
        at.flow.boundary()
        at.inner += 1
        at.read_page(source)
        at.inner -= 1
        at.flow.boundary()
    return False


HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(
        "address body center dl dt fieldset form hgroup hr html legend menuitem optgroup p search summary "
        "details main".split(),
        block,
    ),
    **dict.fromkeys(
        "head title style meta link audio video canvas object embed applet datalist rt rp rtc noframes noembed "
        "area param source track colgroup col frameset base -comment -doctype".split(),
        skip,
    ),
    **dict.fromkeys(("h1", "h2", "h3", "h4", "h5", "h6"), heading),
    **dict.fromkeys(("ul", "ol", "menu", "dir", "dl"), listing),
    **dict.fromkeys(("li", "dd"), item),
    **dict.fromkeys(("article", "section", "main", "details"), part),
    **dict.fromkeys(("thead", "tbody", "tfoot"), row_group),
    **dict.fromkeys(("td", "th"), cell),
    **dict.fromkeys(("del", "s", "strike"), struck),
    **dict.fromkeys(("code", "tt", "samp"), code),
    **dict.fromkeys(("header", "aside"), beside),
    "div": division, "footer": footer, "nav": navigation, "dialog": dialog, "blockquote": quotation,
    "figure": figure, "figcaption": figure_caption, "table": table, "caption": table_caption, "tr": row,
    "pre": preformatted, "xmp": preformatted, "listing": preformatted, "sup": raised, "sub": lowered, "q": quoted,
    "a": link, "br": line_break, "img": picture, "svg": drawing, "math": formula, "script": script,
    "template": template, "iframe": frame, "input": field_value, "select": choice, "textarea": text_area,
    "button": button, "meter": gauge, "progress": gauge, "output": gauge,
}  # fmt: skip
