"""Sheets of Excel and OpenDocument: regions as tables, values as they are shown, rows where they stand."""

from __future__ import annotations

import datetime
from base64 import b85decode
from io import BytesIO
from zlib import decompress

import openpyxl
import pytest
from nexus_readers.office.sheets.number_formats import number_format
from openpyxl.comments import Comment

from nexus_core import Block, Heading, Paragraph, Table
from nexus_core.toolkit import ReadSettings
from tests.plugins.readers.office.office_files import open_document, read, remarks, texts, xlsx


def saved(book: openpyxl.Workbook) -> bytes:
    file = BytesIO()
    book.save(file)
    return file.getvalue()


def tables(blocks: list[Block]) -> list[Table]:
    return [block for block in blocks if isinstance(block, Table)]


def sheet(*rows: str) -> bytes:
    """Return a workbook with rows such as `Name|Room`; an empty one is an empty row."""
    book = openpyxl.Workbook()
    for at, row in enumerate(rows, 1):
        for column, cell in enumerate(row.split("|"), 1):
            if cell:
                book.active.cell(at, column, float(cell) if cell.replace(".", "").isdigit() else cell)
    return saved(book)


def test_xlsx_shows_values_as_people_see_them() -> None:
    """Dates are ISO 8601, percents and amounts as formatted, a whole number has no point."""
    book = openpyxl.Workbook()
    book.active.append(["Name", "Start", "Share", "Price", "Count", "Paid"])
    book.active.append(["Ada", datetime.datetime(2024, 1, 15), 0.125, 1234.5, 10000.0, True])
    for column, code in ((2, "dd/mm/yyyy"), (3, "0.0%"), (4, '#,##0.00 "EUR"')):
        book.active.cell(2, column).number_format = code
    (table,) = tables(read(saved(book), "a.xlsx"))
    assert table.header == ("Name", "Start", "Share", "Price", "Count", "Paid")
    assert table.rows == (("Ada", "2024-01-15", "12.5%", "1,234.50 EUR", "10000", "TRUE"),)
    assert table.place.row == 2


@pytest.mark.parametrize(
    ("code", "number", "shown"),
    [
        ("General", "0.30000000000000004", "0.3"),
        ("General", "1E-3", "0.001"),
        ("0", "2.7", "3"),
        ("#,##0;[Red]-#,##0", "-12345", "-12,345"),
        ("[$€-407] #,##0.00", "5", "€ 5.00"),
        ('0.0," k"', "12500", "12.5 k"),
        ("[h]:mm", "1.5", "36:00:00"),
        ("h:mm AM/PM", "0.75", "18:00"),
        ("yyyy-mm-dd hh:mm", "45291.5", "2023-12-31 12:00"),
        ("dd.mm.yyyy", "45291", "2023-12-31"),
        ("mm/dd/yy", "1", "1900-01-01"),
        ("yyyy", "99999999", "99999999"),
        ("@", "007", "007"),
        ("00000", "501", "00501"),
        ("# ##0", "5", "5"),
        ("000-00-0000", "123456789", "123-45-6789"),
        ('"Q"0', "3", "Q3"),
        ("0.00E+00", "12345", "12345"),
        ("# ?/?", "0.5", "0.5"),
        ("0.00", "-0.5", "-0.50"),
        ("0%", "nonsense", "nonsense"),
    ],
)
def test_number_formats_show_what_a_sheet_shows(code: str, number: str, shown: str) -> None:
    """Codes of formats with their quirks; what is no number or no date stays as it is written."""
    assert number_format(code).shown(number) == shown


def test_xlsx_makes_a_table_of_each_region() -> None:
    """Empty rows and columns part them; lines above a table are its caption."""
    found = read(
        sheet("Report 2024", "Name|Room||City|Staff", "Ada|12||Oslo|7", "Bob|14||Rome|9", "", "Note"), "a.xlsx"
    )
    first, second = tables(found)
    assert (first.header, first.rows) == (("Name", "Room"), (("Ada", "12"), ("Bob", "14")))
    assert first.caption == "Report 2024"
    assert (second.header, second.rows) == (("City", "Staff"), (("Oslo", "7"), ("Rome", "9")))
    assert [block.place.row for block in found if isinstance(block, Paragraph)] == [6]


@pytest.mark.parametrize("years", ["2023|2024", "FY 2023|FY 2024"])
def test_xlsx_takes_years_for_names_of_columns(years: str) -> None:
    """Where no years stand below; a list of years of birth has no header."""
    (table,) = tables(read(sheet(f"Item|{years}", "Sales|10|20"), "a.xlsx"))
    assert table.header == ("Item", *years.split("|"))
    (table,) = tables(read(sheet("Ada|1815|1852", "Alan|1912|1954"), "a.xlsx"))
    assert table.header == ()


def test_xlsx_takes_a_row_above_measures_for_names_of_columns() -> None:
    """A column of numbers with a word for what they count is one of numbers; without a name it has none."""
    (table,) = tables(read(sheet("Kind|Fee", "Dog licence|80 crowns", "Cat licence|10 crowns"), "a.xlsx"))
    assert table.header == ("Kind", "Fee")
    (table,) = tables(read(sheet("Dog licence|80 crowns", "Cat licence|10 crowns"), "a.xlsx"))
    assert table.header == ()


def test_xlsx_carries_a_header_over_empty_rows() -> None:
    """Groups of rows under one header keep the names of their columns."""
    found = tables(read(sheet("Name|City|Room", "Ada|Oslo|12", "", "Bob|Rome|14", "Cy|Graz|15"), "a.xlsx"))
    assert [table.header for table in found] == [("Name", "City", "Room")] * 2
    assert [table.place.row for table in found] == [2, 4]


def test_xlsx_fills_merged_cells() -> None:
    """Each row can be read alone; two rows of headers become one."""
    book = openpyxl.Workbook()
    for row in (["Site", "2024", None], [None, "Q1", "Q2"], ["Oslo", 1, 2], [None, 3, 4]):
        book.active.append(row)
    for area in ("B1:C1", "A3:A4", "A1:A2"):
        book.active.merge_cells(area)
    (table,) = tables(read(saved(book), "a.xlsx"))
    assert table.header == ("Site", "2024 Q1", "2024 Q2")
    assert table.rows == (("Oslo", "1", "2"), ("Oslo", "3", "4"))


def test_xlsx_leaves_hidden_things_out_and_says_so() -> None:
    """Hidden sheets, rows and columns are told; the option `hidden` reads them; numbers of rows stay right."""
    book = openpyxl.Workbook()
    for row in (["Name", "Room", "Secret"], ["Ada", 12, 1], ["Bob", 14, 2], ["Cy", 15, 3]):
        book.active.append(row)
    book.active.row_dimensions[3].hidden = True
    book.active.column_dimensions["C"].hidden = True
    book.create_sheet("Old")["A1"] = "gone"
    book["Old"].sheet_state = "hidden"
    found = read(saved(book), "a.xlsx")
    assert [row for row in tables(found)[0].rows if any(row)] == [("Ada", "12"), ("Cy", "15")]
    assert len(tables(found)[0].rows) == 3
    assert len(remarks(found)) == 3
    everything = read(saved(book), "a.xlsx", ReadSettings(readers={".xlsx": {"hidden": True}}))
    assert tables(everything)[0].rows[1] == ("Bob", "14", "2")
    assert "gone" in texts(everything)


def test_xlsx_tells_comments_links_and_lost_formulas() -> None:
    """A formula without a stored result is told, since its value is in no file."""
    book = openpyxl.Workbook()
    for row in (["Name", "Sum", "Form"], ["Ada", "=1+1", "ask"]):
        book.active.append(row)
    book.active["A2"].comment = Comment("On leave", "Bob")
    book.active["C2"].hyperlink = "https://example.org/form-77"
    found = read(saved(book), "a.xlsx")
    assert tables(found)[0].rows == (("Ada", "", "[ask](https://example.org/form-77)"),)
    assert "Comment on A2 by Bob: On leave" in texts(found)
    assert "formulas have no stored results (1 cell)" in remarks(found)[0]


def test_xlsx_tells_raised_and_struck_text() -> None:
    """As rich text, and where the whole cell is struck."""
    strings = '<si><r><t>10</t></r><r><rPr><vertAlign val="superscript"/></rPr><t>6</t></r><rPh><t>x</t></rPh></si>'
    styles = '<fonts><font/><font><strike/></font></fonts><cellXfs><xf/><xf fontId="1"/></cellXfs>'
    row = '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" s="1"><v>80</v></c></row>'
    (table,) = tables(read(xlsx(row, styles=styles, strings=strings), "a.xlsx"))
    assert table.rows == (("10^6", "~~80~~"),)


def test_xlsx_hands_on_a_long_sheet_in_pieces() -> None:
    """Each has the header and tells its first row, so that no more than a piece is in memory."""
    rows = "".join(f'<row r="{n}"><c r="A{n}"><v>{n}</v></c><c r="B{n}"><v>7</v></c></row>' for n in range(2, 2502))
    head = '<row r="1"><c r="A1" t="str"><v>Id</v></c><c r="B1" t="str"><v>Room</v></c></row>'
    found = tables(read(xlsx(head + rows), "a.xlsx"))
    assert [table.place.row for table in found] == [2, 502, 1002, 1502, 2002]
    assert {table.header for table in found} == {("Id", "Room")}
    assert found[-1].rows[-1] == ("2501", "7")


ROW = "<table:table-row>{}</table:table-row>"
CELL = "<table:table-cell {1}><text:p>{0}</text:p></table:table-cell>"


def cells(*said: str) -> str:
    return ROW.format("".join(CELL.format(text, "") for text in said))


def test_ods_reads_sheets_as_they_are_shown() -> None:
    """Percents as shown, dates as ISO 8601; repeated empty rows count; hidden sheets are told."""
    value = CELL.format("15.01.24", 'office:value-type="date" office:date-value="2024-01-15"')
    percent = CELL.format("12,5 %", 'office:value-type="percentage" office:value="0.125"')
    body = (
        f'<table:table table:name="Staff">{cells("Name", "Start", "Share")}'
        + ROW.format(CELL.format("Ada", "") + value + percent)
        + '<table:table-row table:number-rows-repeated="7"><table:table-cell/></table:table-row>'
        + cells("Later")
        + f'</table:table><table:table table:name="Old" table:style-name="h">{cells("gone")}</table:table>'
    )
    hidden = (
        '<style:style style:name="h" style:family="table"><style:table-properties table:display="false"/></style:style>'
    )
    found = read(open_document(body, "spreadsheet", hidden), "a.ods")
    assert [block.text for block in found if isinstance(block, Heading)] == ["Staff"]
    assert tables(found)[0].rows == (("Ada", "2024-01-15", "12,5 %"),)
    assert [block.place.row for block in found if isinstance(block, Paragraph)] == [10]
    assert "'Old' is hidden" in remarks(found)[0]


def test_ods_fills_merged_cells() -> None:
    """Cells that are covered say what covers them."""
    wide = 'table:number-columns-spanned="2" table:number-rows-spanned="2"'
    covered = "<table:covered-table-cell/>"
    rows = cells("Name", "a", "b") + ROW.format(CELL.format("x", "") + CELL.format("7", wide) + covered)
    rows += ROW.format(CELL.format("y", "") + covered + covered)
    (table,) = tables(read(open_document(f'<table:table table:name="T">{rows}</table:table>', "spreadsheet"), "a.ods"))
    assert table.rows == (("x", "7", "7"), ("y", "7", "7"))


OLD_SHEET = (
    "c-rk)O=uHQ5dPk7(j>KQl9~#wP(q<qYbjJOy|l3v?a5l}K~X^yHx+4<NXVrgv|4i%1W$^WLOpn?dhrK;P`r2$DtZtEp;5f(Nl@_6"
    "W}TVc)uu*hz*Z{zg*WfLnKwJLZ|41EU(SZ-rfxSCumru(Q8WXnTEtUS0!}9clA9(so!U>ubg`xo@KYeGym(Oi!pAY>co(4Imggx^"
    ";60TiIEBGXIvHI>^otL1#Xj^X59OYQYgFpcD1OxoJuY;;(3>*$q0k+|xhS-U#?Gljn2im#ciVY<P-_uc9Z`k5qVrZbU1-2_&f~L}"
    "lr`3izU;~P*cuZwdulKZ3h6*Hoy>ASi0h~Z45KrZ>KrG`AwuDv#y2wxe0A3Klc>vIUA_YGznAiTf8hHmh)emGH4iWW^O)jf&Z8Dx"
    "9+r5qKNlYv$zvT_t2i}u>>V@a(JhOd3k@5Lr;=Xq$ZU?f!<kG<2l|XSrAmJ$5sjyf=+1GHoS+S$nhyZkFhV68My)KP8lnb*(hkdF"
    "3X#9_H@>{ulNgE}70!el64p`D%6`MdIo2TMI^lXm%CucHwhBEjPu(c(CZQ2}KdRe?8tlgINf~oNq-|tpyWn+f)1vlfYUe-iyVsom"
    "5ZglSnSsLT$jqDA6k6zLGf1C*lju+#>gpB7{g_iLd((L*wDGqM$ghR$H!$t<GKd9Qa!TfdVf8fXsh>UFo-5YY%4l1&Nio4Av9A&R"
    "^o*aejd;4~>1FhE(c^i1Oz)|SRSjn}maxskWbC8ufi7P4YW29oF3|S*3o9LSM`F>n7<0?_(%EN($w^qVigL5+!i5VLE?l^9@lU{)"
    "E=?|y*45i<U+;YOcbx?)MfWqwe~V#c=$E6vl)I3oI*aj&@@E6Q%6XPrrjGNyka2*lXEBO|_%T{>{?heaEq<S6D~A5w5~|dGu@XO5"
    "*!~YQ+6gi"
)
"""A workbook in the format of before 2007, compressed: no library that is kept writes any."""


def test_xls_reads_sheets_of_old_programs() -> None:
    """Dates are ISO 8601, merged cells stand in each place, hidden sheets are told."""
    found = read(decompress(b85decode(OLD_SHEET)), "a.xls")
    (table,) = tables(found)
    assert (table.header, table.place.row) == (("Name", "Start", "Room"), 3)
    assert table.rows == (("Ada", "2024-01-15", "12"), ("Bob and Cy", "Bob and Cy", "1.5"))
    assert "'Old' is hidden" in remarks(found)[0]
