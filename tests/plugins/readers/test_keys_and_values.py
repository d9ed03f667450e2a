"""The readers of JSON, of files of settings, and of XML."""

from __future__ import annotations

import json

import pytest

from nexus_core import Code, Figure, Footnote, Heading, ListItem, Metadata, Paragraph, SourceError, Table
from tests.plugins.readers.reading import blocks_of, grows_in_proportion, items_of, only, remarks, text

# JSON


def test_json_keys_are_lines_with_their_paths() -> None:
    """Each can be read alone; numbers are as they are written, and what comes twice is there twice."""
    data = '{"server": {"port": 8080, "tls": {"cert": "/x"}}, "tags": ["a", "b"], "n": 1.50, "big": %s, "d": 1, "d": 2}'
    lines = [block.text for block in only(ListItem, blocks_of(data % ("9" * 90), "a.json"))]
    expected = ["server.port: 8080", "server.tls.cert: /x", "tags: a, b", "n: 1.50", "big: " + "9" * 90, "d: 1, 2"]
    assert lines == expected


def test_json_records_are_tables() -> None:
    """On one line or many: each row names its columns, and the fact in the middle is cited by its rows."""
    records = [{"id": n, "name": f"Part {n}", "price": {"net": n * 3}} for n in range(5000)]
    items = items_of(json.dumps(records), "a.json")
    (found,) = [item for item in items if "name: Part 2512;" in item.text]
    assert "- id: 2512; name: Part 2512; price.net: 7536" in found.text
    assert found.metadata["rows"][0] <= 2513 <= found.metadata["rows"][1]
    assert max(len(item.text) for item in items) < 6_000


def test_json_large_parts_have_headings() -> None:
    """Long texts are paragraphs, large records are called by their titles."""
    docs = [{"title": f"Doc {n}", "body": {"text": ["words here " * 120] * 3}} for n in range(3)]
    blocks = blocks_of(json.dumps({"title": "All", "docs": docs}), "a.json")
    assert only(Metadata, blocks)[0].title == "All"
    assert [block.text for block in only(Heading, blocks) if block.level == 2] == ["Doc 0", "Doc 1", "Doc 2"]
    assert len(only(Paragraph, blocks)) == 9


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ('// c\n{"a": "http://x", /* c */ "b": [1, 2,],}', "- a: http://x\n- b: 1, 2"),
        ('{"a": 1}\n{"a": 2}\n', "| a |\n| --- |\n| 1 |\n| 2 |"),
        ('"words"', "words"),
        ("[NaN, null, true]", "- NaN\n- null\n- true"),
        ("[[1, 2], [3, 4]]", "| 1 | 2 |\n| 3 | 4 |"),
        ('{"a": {}, "b": []}', "- a: (none)\n- b: (none)"),
    ],
    ids=["comments", "lines", "text", "constants", "matrix", "empty"],
)
def test_json_of_any_form_is_read(data: str, expected: str) -> None:
    """What is nearly JSON, too."""
    assert text(blocks_of(data, "a.json")) == expected


@pytest.mark.parametrize(
    "data", ["not json", "[" * 5000, '{"a":' * 100 + "1" + "}" * 100], ids=["none", "open", "deep"]
)
def test_json_that_cannot_be_read_is_told(data: str) -> None:
    """It comes as it stands, or what is too deep is left out."""
    assert remarks(blocks_of(data, "a.json"))


# Settings

COMPOSE = """# top comment
version: 3

# the web server
services:
  web:
    image: nginx   # pinned
other: |
  fake: key
"""


def test_yaml_is_its_own_lines() -> None:
    """Comments are kept; keys are headings that are no text."""
    blocks = blocks_of(COMPOSE, "a.yaml")
    assert text(blocks) == COMPOSE.strip("\n")
    assert only(Heading, blocks)[0].text == "version, services, other"
    assert items_of(COMPOSE, "a.yaml")[0].kind == "code"


def test_yaml_large_keys_are_cut_by_the_keys_inside() -> None:
    """With the path of keys in their titles, and comments with what they are about."""
    services = "".join(f"  # about {n}\n  web{n}:\n    image: img{n}\n    env: {'x' * 500}\n" for n in range(30))
    items = items_of(f"version: 3\nservices:\n{services}", "a.yaml")
    (found,) = [item for item in items if "img17" in item.text]
    assert found.title == "a.yaml > services > web17"
    assert found.text.startswith("  # about 17\n  web17:")
    assert found.metadata["line"] == 2 + 17 * 4 + 1


def test_yaml_documents_and_entries_are_called_by_their_names() -> None:
    """As those of Kubernetes and Ansible are."""
    kinds = "kind: Deployment\nmetadata:\n  name: web\n---\nkind: Service\nmetadata:\n  name: db\n"
    names = [block.text for block in only(Heading, blocks_of(kinds, "a.yml")) if block.level == 1]
    assert names == ["Deployment web", "Service db"]
    tasks = blocks_of("- name: Install nginx\n  apt: nginx\n- hosts: all\n", "a.yml")
    assert only(Heading, tasks)[0].text == "Install nginx, all"


@pytest.mark.parametrize(("suffix", "mark"), [(".toml", "#"), (".ini", ";"), (".cfg", "#")])
def test_settings_have_a_heading_for_each_section(suffix: str, mark: str) -> None:
    """Comments stand with the section that they are above of."""
    data = f"top = 1\n\n{mark} about a\n[a.b]\nx = 1\n[c]\ny = 2\n"
    blocks = blocks_of(data, f"a{suffix}")
    assert [(block.text, block.place.line) for block in only(Heading, blocks)] == [("a.b", 3), ("c", 6)]
    assert [block.text for block in only(Code, blocks)] == ["top = 1", f"{mark} about a\n[a.b]\nx = 1", "[c]\ny = 2"]


# XML

DOCBOOK = """<?xml version="1.0" encoding="iso-8859-1"?><!DOCTYPE book [<!ENTITY co "Acme &amp; Co">]>
<book xmlns="http://docbook.org/ns/docbook"><info><title>Manual</title></info>
<chapter><title>Install</title><para>Run <command>make</command> for &co; at 10<superscript>6</superscript>
&nbsp;Hz<footnote><para>A note.</para></footnote>, <![CDATA[a<b]]>.</para>
<programlisting>a = 1
  b &lt; 2</programlisting>
<itemizedlist><listitem><para>one</para></listitem><listitem><para>two</para><para>more</para></listitem></itemizedlist>
<table><title>Cap</title><tgroup cols="2"><thead><row><entry>A</entry><entry>B</entry></row></thead><tbody>
<row><entry morerows="1">1</entry><entry>2</entry></row><row><entry>3</entry></row></tbody></tgroup></table>
<section><title>Deep</title><para>last wörds</para></section></chapter></book>"""


def test_xml_prose_has_headings_lists_tables_and_notes() -> None:
    """Entities and CDATA are text, titles are headings at their depth, all in the order of the file."""
    blocks = blocks_of(DOCBOOK.encode("latin-1"), "a.xml")
    assert [(block.text, block.level) for block in only(Heading, blocks)] == [
        ("Manual", 1),
        ("Install", 1),
        ("Deep", 2),
    ]
    assert only(Paragraph, blocks)[0].text == "Run make for Acme & Co at 10^6 Hz[^1], a<b."
    assert only(Footnote, blocks)[0].text == "A note."
    assert [block.text for block in only(ListItem, blocks)] == ["one", "two"]
    (table,) = only(Table, blocks)
    assert (table.caption, table.header, table.rows) == ("Cap", ("A", "B"), (("1", "2"), ("1", "3")))
    assert only(Code, blocks)[0].text == "a = 1\n  b < 2"
    assert only(Paragraph, blocks)[-1].text == "last wörds"


def test_xml_without_prose_is_keys_and_values() -> None:
    """Elements of one name are records; attributes are values."""
    books = (
        '<book id="b1"><title>One</title><price>5</price></book><book id="b2"><title>Two</title><price>6</price></book>'
    )
    (table,) = only(Table, blocks_of(f"<catalog><owner>Ann</owner>{books}</catalog>", "a.xml"))
    assert table.header == ("id", "title", "price")
    assert table.rows == (("b1", "One", "5"), ("b2", "Two", "6"))


def test_xml_that_is_not_well_formed_loses_no_words() -> None:
    """What follows the fault comes without its markup."""
    blocks = blocks_of("<a><p>one &amp; two</p><p>three <b>four</p><p>five</p></a>", "a.xml")
    assert text(blocks).split() == ["one", "&", "two", "three", "four", "five"]
    assert any("line 1" in remark for remark in remarks(blocks))


def test_xml_reads_no_other_file_and_no_bomb(tmp_path: pytest.TempPathFactory) -> None:
    """External entities are left out and told; entities that grow are refused."""
    outside = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><a><p>one &x; two</p></a>'
    blocks = blocks_of(outside, "a.xml")
    assert text(blocks) == "one two"
    assert any("other files" in remark for remark in remarks(blocks))
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 9))
    with pytest.raises(SourceError, match="without bound"):
        blocks_of(f'<!DOCTYPE a [<!ENTITY a0 "{"a" * 50}">{entities}]><a>&a8;</a>', "a.xml")


def test_xml_too_deep_is_refused() -> None:
    """With the reason."""
    with pytest.raises(SourceError, match="deep"):
        blocks_of("<a>" * 5_000, "a.xml")


SHAPES = {
    "json objects": ("a.json", "[|{'a':1},|{'a':1}]"),
    "json comments": ("a.json", "|/*|"),
    "json lists": ("a.json", "[|[1,2],|[1]]"),
    "json texts": ("a.json", "['|word |']"),
    "yaml keys": ("a.yaml", "|a: 1\n|"),
    "yaml documents": ("a.yaml", "|---\na: 1\n|"),
    "ini sections": ("a.ini", "|[a]\nb=1\n|"),
    "xml elements": ("a.xml", "<a>|<b>1</b>|</a>"),
    "xml prose": ("a.xml", "<a>|<p>x <b>y</b></p>|</a>"),
    "xml rows": ("a.xml", "<a>|<r><x>1</x></r>|</a>"),
    "xml fault": ("a.xml", "<a></b>|<!--|"),
    "xml notes": ("a.xml", "<p>|<footnote>x</footnote>|</p>"),
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_keys_and_values_cost_grows_in_proportion(shape: str) -> None:
    """Twice the file costs twice as much."""
    name, parts = SHAPES[shape]
    before, again, after = parts.replace("'", '"').split("|")
    assert grows_in_proportion(name, lambda size: before + again * (size // len(again)) + after)


def test_xml_prose_keeps_addresses_of_links_and_titles_of_pictures() -> None:
    """A link of DocBook tells where it leads, and the title of a figure or a tip heads nothing that follows it."""
    page = """<article xmlns:xl="x"><title>Guide</title><para>Ask <link xl:href="https://e.org/f">the desk</link> or
        <ulink url="mailto:a@b.org"/>.</para><figure><title>Net</title><mediaobject><imageobject><imagedata/>
        </imageobject><textobject><phrase>Brown to L</phrase></textobject></mediaobject></figure>
        <tip><title>Hint</title><para>Wear gloves.</para></tip><variablelist><varlistentry><term>-x</term>
        <listitem><para>Exclude.</para></listitem></varlistentry></variablelist></article>"""
    blocks = blocks_of(page, "a.xml")
    assert [block.text for block in blocks if isinstance(block, Heading)] == ["Guide"]
    assert text(blocks[1:2]) == "Ask [the desk](https://e.org/f) or mailto:a@b.org."
    (figure,) = only(Figure, blocks)
    assert (figure.text, figure.caption) == ("Brown to L", "Net")
    assert [block.text for block in blocks[3:] if isinstance(block, Paragraph)] == ["Hint", "Wear gloves.", "-x"]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("a.json", '{"logo": "data:image/png;base64,LETTERS", "fact": "Room 7"}'),
        ("a.json", '{"logo": "data:image\\/png;base64,LETTERS", "fact": "Room 7"}'),
        ("a.csv", "logo,fact\ndata:image/png;base64,LETTERS,Room 7\n"),
        ("a.yaml", "logo: data:image/png;base64,LETTERS\nfact: Room 7\n"),
        ("a.xml", "<r><logo>data:image/png;base64,LETTERS</logo><fact>Room 7</fact></r>"),
        ("a.txt", "Logo\n\ndata:image/png;base64,LETTERS\n\nRoom 7\n"),
    ],
)
def test_pictures_written_into_data_are_no_text(name: str, source: str) -> None:
    """The letters of a picture fill no item, in whatever format it is written into; what stands beside it is read."""
    said = text(blocks_of(source.replace("LETTERS", "iVBORw0KGgo" * 3000 + "="), name))
    assert "Room 7" in said
    assert len(said) < 120


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("<feed><entry><title>E</title><content type='html'>&lt;p&gt;Fact 7 &amp;amp; &lt;b&gt;more&lt;/b&gt;&lt;/p&gt;"
         "</content></entry></feed>", "Fact 7 & more"),
        ("<r><p>Text &amp; end.<note place='foot'>Foot 7</note></p></r>", "[^1]: Foot 7"),
        ("<r><lg><l>Verse one</l><l>Verse two</l></lg></r>", "Verse one Verse two"),
        ("<r><p>A</p><fig><label>1</label><caption><p>Chart 7</p></caption><graphic/></fig></r>", "Chart 7"),
    ],
)  # fmt: skip
def test_xml_tells_each_word_once_as_people_see_it(source: str, said: str) -> None:
    """Pages in feeds come without their tags, notes with their marks, verses apart, captions once."""
    told = text(blocks_of(source, "a.xml"))
    assert told.count(said) == 1
    assert told.count("7") <= 1
