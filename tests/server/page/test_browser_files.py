"""Files that are asked about once on the page, in a real browser: read as text, and kept by name alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from docx import Document

from tests.server.page.test_browser import ANSWERED, ask
from tests.server.page.test_browser_answers import PROBLEMS, SIZES
from tests.server.page.test_browser_asking import FILE, ready, reopen

pytestmark = pytest.mark.slow

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
LODGING = "Lodging in Reykjavik is paid up to 240 euros a night."
QUESTION = "What is paid for lodging in Reykjavik?"
PASTE = """(() => {
  const clipboardData = new DataTransfer();
  clipboardData.items.add(new File(["Lodging is 99 euros."], "pasted.md", { type: "text/markdown" }));
  const paste = new ClipboardEvent("paste", { clipboardData, cancelable: true, bubbles: true });
  document.querySelector("#query").dispatchEvent(paste);
})()"""
TURN = "document.querySelector('.turn .files')?.textContent"


def word(folder: Path, name: str = "travel.docx", text: str = LODGING) -> Path:
    document = Document()
    document.add_paragraph(text)
    document.save(str(folder / name))
    return folder / name


async def choose(tab: Any, *files: Path) -> None:
    await tab.attach("#attach", *files)
    await tab.until(f"document.querySelectorAll('{FILE}').length >= {len(files)}")


async def test_picked_file_is_read_for_one_question(tab: Any, running: Any, tmp_path: Path) -> None:
    """Beside the context; its name stays at the turn, its passage with the citation, in a page opened anew, too."""
    await ready(tab, running, "quotes")
    await choose(tab, word(tmp_path))
    assert re.search(r"travel\.docx [\d.]+ kB, read as text", await tab.text(FILE))
    await ask(tab, QUESTION)
    await tab.until(ANSWERED)
    assert "240 euros" in await tab.text(".answer")
    assert await tab.run(f"document.querySelector('{FILE}')") is None
    for _ in range(2):
        assert await tab.run(TURN) == "travel.docxasked about once"
        await tab.click(".citation")
        await tab.until("document.querySelector('#passage[open]')?.textContent.includes('240 euros')")
        await reopen(tab)
        await tab.until("document.querySelector('#thread > .hint') !== null")
    assert await running.store.documents("handbook") == ()


async def test_files_alone_are_asked_without_a_context(tab: Any, running: Any, fakes: Any) -> None:
    """The context of before is asked again with the next question; asked again, the file goes along."""
    await ready(tab, running)
    await tab.run(PASTE)
    await tab.until(f"document.querySelector('{FILE}') !== null")
    await tab.run("document.querySelector('#context').value = ''")
    await tab.run("document.querySelector('#context').dispatchEvent(new Event('change'))")
    assert await tab.run("document.querySelector('#context').selectedOptions[0].textContent") == "The files alone"
    await ask(tab, "How many days of leave, and what is lodging?")
    await tab.until(ANSWERED)
    prompts = fakes.connectors["main"].prompts
    assert ("99 euros" in prompts[-1].messages[-1].text, "28 days" in prompts[-1].messages[-1].text) == (True, False)
    assert await tab.run("document.querySelector('#context').value") == "handbook"
    await tab.click(".again")
    await tab.until("document.querySelector('.step') !== null")
    assert ("99 euros" in prompts[-1].messages[-1].text, "28 days" in prompts[-1].messages[-1].text) == (True, False)
    await ask(tab, "How many days of leave?")
    await tab.until("document.querySelectorAll('.copy').length === 2")
    last = prompts[-1].messages[-1].text
    assert ("99 euros" in last, "28 days" in last) == (False, True)
    await tab.click(".edit")
    await tab.until(f"document.querySelector('{FILE}')?.textContent.includes('pasted.md')")
    await tab.press("Escape")
    assert await tab.run(f"document.querySelector('{FILE}')") is None


async def test_files_of_a_page_that_was_closed_are_to_be_added_again(tab: Any, running: Any, fakes: Any) -> None:
    """Asking again asks nothing without them, and says what is missing."""
    await ready(tab, running)
    await tab.run(PASTE)
    await tab.until(f"document.querySelector('{FILE}') !== null")
    await ask(tab, "What is lodging?")
    await tab.until(ANSWERED)
    await reopen(tab)
    await tab.until("document.querySelector('#thread > .hint') !== null")
    asked = len(fakes.connectors["main"].prompts)
    await tab.click(".again")
    assert "kept nowhere: pasted.md" in await tab.until("document.querySelector('.state .problem')?.textContent")
    await tab.click(".edit")
    assert "kept nowhere: pasted.md" in await tab.text("#editing")
    assert len(fakes.connectors["main"].prompts) == asked
    await tab.run(PASTE)
    await tab.press("Enter")
    await tab.until("document.querySelector('.step') !== null")
    assert "99 euros" in fakes.connectors["main"].prompts[-1].messages[-1].text


async def test_file_that_cannot_be_read_comes_back_with_the_question(
    tab: Any, running: Any, fakes: Any, tmp_path: Path
) -> None:
    """Nothing was asked; without it the same question is answered."""
    (tmp_path / "broken.docx").write_bytes(b"\0\1\2\3" * 100)
    await ready(tab, running)
    await choose(tab, word(tmp_path), tmp_path / "broken.docx")
    await ask(tab, QUESTION)
    await tab.until("document.querySelector('.answer .problem')?.textContent.includes('broken.docx')")
    await tab.until(f"document.querySelectorAll('{FILE}').length === 2")
    assert await tab.run(f"[...document.querySelectorAll('{FILE} .wrong')].map((each) => each.textContent)") == [
        "400 bytes, cannot be read"
    ]
    assert await tab.run("document.querySelector('#query').value") == QUESTION
    assert fakes.connectors["main"].prompts == []
    await tab.click(f"{FILE}:nth-child(2) .cross")
    await tab.run("document.querySelector('#query').focus()")
    await tab.press("Enter")
    await tab.until(ANSWERED)
    assert "240 euros" in fakes.connectors["main"].prompts[-1].messages[-1].text


async def test_answer_says_what_of_a_long_file_was_left_out(tab: Any, running: Any, tmp_path: Path) -> None:
    """Below it, for the question that it is."""
    (tmp_path / "rules.md").write_text("".join(f"## Rule {at}\n\n{'Nothing is said. ' * 80}\n" for at in range(60)))
    await ready(tab, running)
    await choose(tab, tmp_path / "rules.md")
    await ask(tab, "What is said?")
    said = await tab.until("document.querySelector('.left')?.textContent")
    assert re.search(r"rules\.md: \d+ of 60 sections went to the model", said)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_axe_finds_nothing_at_files(
    tab: Any, running: Any, tmp_path: Path, size: tuple[int, int], dark: bool
) -> None:
    """At one that is read, one that cannot be, too many, and at the turn; nothing is too wide."""
    long = word(tmp_path, "a-name-that-is-much-too-long-for-a-telephone-" * 4 + ".docx")
    (tmp_path / "empty.md").touch()
    some = [tmp_path / f"{number}.md" for number in range(17)]
    for file in some:
        file.write_text(f"# File {file.stem}\n\n{LODGING}\n")
    await tab.size(*size, dark=dark)
    await ready(tab, running)
    await tab.run(AXE.read_text("utf-8") + ";0")
    await choose(tab, long, tmp_path / "empty.md", *some)
    wrong = await tab.run(f"[...document.querySelectorAll('{FILE} .wrong')].map((each) => each.textContent)")
    assert [each.partition(", ")[2] for each in wrong] == [
        "it is empty",
        *["at most 16 files go with one question"] * 2,
    ]
    found = await tab.run(PROBLEMS)
    wide = await tab.run("document.documentElement.scrollWidth > innerWidth")
    await tab.run("document.querySelectorAll('#attached .cross').forEach((each, at) => at && each.click())")
    await ask(tab, QUESTION)
    await tab.until(ANSWERED)
    found += await tab.run(PROBLEMS)
    assert (found, wide, await tab.run("document.documentElement.scrollWidth > innerWidth")) == ([], False, False)
    assert await tab.faint_texts() == []
