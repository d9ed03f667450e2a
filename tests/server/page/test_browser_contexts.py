"""Contexts, documents, items, conversations and models on the page, in a real browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nexus_core.contract.components import Kind
from nexus_core.engine.plugins import PluginRegistry
from nexus_core.store.usage import DailyUsage
from tests.server.conftest import OWN
from tests.server.test_contexts_documents import add_documents

pytestmark = pytest.mark.slow

OPEN = "document.querySelector('#sure').open"


async def ask(tab: Any, question: str) -> None:
    """Ask, and wait until there is one more answer."""
    before = await tab.run("document.querySelectorAll('.copy').length")
    await tab.write("#query", question)
    await tab.press("Enter")
    await tab.until(f"document.querySelectorAll('.copy').length > {before}")


async def confirm(tab: Any) -> str:
    """Say yes to the question that is open, and return what it says is lost."""
    await tab.until(OPEN)
    said = await tab.text("#sure")
    await tab.click("#sure-yes")
    await tab.until(f"!{OPEN}")
    return str(said)


async def again(tab: Any, address: str) -> None:
    """Leave the page, and open a conversation in a new one of the same tab."""
    await tab.send("Page.navigate", url="about:blank")  # answered once the old page is gone
    await tab.go(address)
    await tab.until("document.querySelector('#thread > .hint') !== null")


async def test_context_is_made_filled_and_asked(tab: Any, running: Any, tmp_path: Path) -> None:
    """A new context, a document uploaded to it, found in it, opened, and quoted by an answer."""
    document = tmp_path / "canteen.md"
    document.write_text("# Canteen\n\nThe canteen opens at noon.\n")
    await tab.go(running.origin)
    await tab.click("nav a[href='#contexts']")
    await tab.until("document.querySelector('#contexts').textContent.includes('handbook')")
    await tab.write("#name", "house")
    await tab.press("Enter")
    await tab.until("document.querySelector('#documents-title').textContent === 'No documents yet'")
    await tab.attach("#files", document)
    await tab.until("document.querySelector('#documents-title').textContent === '1 document'")
    assert "canteen.md: items: 1 new" in await tab.text("#uploads")
    assert "38 bytes · uploaded" in await tab.text("#documents")
    await tab.click("#to-items")
    await tab.until("document.querySelector('#items a') !== null")
    await tab.write("#words", "canteen noon")
    await tab.press("Enter")
    await tab.until("document.querySelector('#items').textContent.includes('relevance')")
    await tab.click("#items a")
    await tab.until("document.querySelector('#item').open")
    assert "opens at noon" in await tab.text("#item-text")
    await tab.press("Escape")
    await tab.run("location.hash = '#ask/quotes/house'")
    await tab.until("document.querySelector('#context').value === 'house'")
    await ask(tab, "When does the canteen open?")
    assert "noon" in await tab.text(".answer")


async def test_documents_are_dropped(tab: Any, running: Any) -> None:
    """Files dropped on the page go to the context that is open; one that cannot be read is told with its reason."""
    await tab.go(running.origin + "/#contexts/handbook/documents")
    await tab.until("document.querySelector('#documents-title').textContent === 'No documents yet'")
    await tab.run("""(() => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File(["Parking is free."], "parking.txt"));
      dataTransfer.items.add(new File([new Uint8Array([0, 1, 2, 255, 0])], "noise.txt"));
      document.querySelector("#drop").dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
    })()""")
    await tab.until("document.querySelectorAll('#documents li').length === 1")
    assert "parking.txt: items: 1 new" in await tab.text("#uploads")
    assert await tab.run("document.querySelectorAll('#uploads .problem').length") == 1


async def test_document_is_removed_once_it_is_confirmed(tab: Any, running: Any) -> None:
    """Nothing goes before the answer, and the focus stays in the list."""
    await running.call("POST", "/api/contexts/handbook/documents?name=parking.txt", data=b"Parking is free.")
    await tab.go(running.origin + "/#contexts/handbook/documents")
    await tab.until("document.querySelector('#documents button') !== null")
    await tab.click("#documents button")
    await tab.until(OPEN)
    assert await tab.run("document.activeElement.id") == "sure-no"
    await tab.press("Escape")
    await tab.until(f"!{OPEN}")
    assert len((await running.call("GET", "/api/contexts/handbook/documents"))[1]["documents"]) == 1
    await tab.click("#documents button")
    assert "“parking.txt”" in await confirm(tab)
    await tab.until("document.querySelectorAll('#documents li').length === 0")
    assert (await running.call("GET", "/api/contexts/handbook/documents"))[1]["documents"] == []
    assert await tab.until("document.activeElement.id === 'documents-title'")


async def test_items_are_found_by_tag_and_tagged(tab: Any, running: Any) -> None:
    """A tag of an item shows all that have it; in the item tags are added and removed."""
    await tab.go(running.origin + "/#contexts/handbook")
    await tab.until("document.querySelectorAll('#items li').length === 3")
    await tab.run(
        "[...document.querySelectorAll('#items .chip')].find((each) => each.textContent === 'travel').click()"
    )
    await tab.until("document.querySelectorAll('#items li').length === 2")
    await tab.click("#items a")
    await tab.until("document.querySelector('#item').open")
    await tab.write("#item-new", "rail")
    await tab.press("Enter")
    await tab.until("document.querySelectorAll('#item-tags li').length === 2")
    await tab.click("#item-tags [aria-label='Remove tag travel']")
    await tab.until("document.querySelectorAll('#item-tags li').length === 1")
    assert (await running.call("GET", "/api/contexts/handbook/items/trains"))[1]["tags"] == ["rail"]
    await tab.press("Escape")
    await tab.until("!document.querySelector('#item').open && document.activeElement.textContent === 'Trains'")
    assert await tab.run("location.hash") == "#contexts/handbook"
    assert await tab.text("#items .chip") == "rail"


async def test_item_has_an_address(tab: Any, running: Any) -> None:
    """It opens whole over the list of its context, and Back closes it."""
    await tab.go(running.origin + "/#contexts/handbook")
    await tab.until("document.querySelector('#items a') !== null")
    await tab.run("location.hash = '#contexts/handbook/items/flights'")
    await tab.until("document.querySelector('#item').open")
    assert await tab.text("#item-text") == "Flights need the consent of a manager."
    await tab.run("history.back()")
    await tab.until("!document.querySelector('#item').open")
    assert await tab.run("document.querySelectorAll('#items li').length") == 3


async def test_context_is_deleted_once_it_is_confirmed(tab: Any, running: Any) -> None:
    """The question names the context, and how much is lost with it."""
    await tab.go(running.origin + "/#contexts/handbook")
    await tab.until("document.querySelector('#items a') !== null")
    await tab.click("#delete-context")
    said = await confirm(tab)
    assert "“handbook”" in said
    assert "3 items" in said
    await tab.until("document.querySelector('#opened').hidden")
    assert (await running.call("GET", "/api/contexts"))[1]["contexts"] == []
    await tab.until("document.querySelector('#contexts-said').textContent.includes('none yet')")
    await tab.click("nav a[href='#ask']")
    await tab.until("document.querySelector('#about a[href=\"#contexts\"]') !== null")


async def test_upload_goes_where_it_was_dropped(tab: Any, running: Any) -> None:
    """Also if another context is opened before the files have gone."""
    await running.call("POST", "/api/contexts", json={"name": "other"})
    await tab.go(running.origin + "/#contexts/handbook/documents")
    await tab.until("document.querySelector('#documents-title').textContent === 'No documents yet'")
    await tab.run("""(() => {
      const dataTransfer = new DataTransfer();
      for (const name of ["a.txt", "b.txt", "c.txt"]) dataTransfer.items.add(new File(["Some words."], name));
      document.querySelector("#drop").dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
      location.hash = "#contexts/other/documents";
    })()""")
    await tab.until("document.querySelector('#contexts').textContent.includes('6 items')")
    assert (await running.call("GET", "/api/contexts/other/documents"))[1]["documents"] == []


async def test_conversation_goes_on(tab: Any, running: Any, fakes: Any) -> None:
    """Questions of a thread are one conversation, which is listed by its first and can be taken up again."""
    await tab.go(running.origin + "/#ask/own/own")
    await tab.until("document.querySelector('#pipeline').value === 'own'")
    await ask(tab, "How much leave?")
    await ask(tab, "And trains?")
    messages = [message.content for message in fakes.connectors["own"].prompts[1].messages]
    assert any("How much leave?" in content for content in messages[:-1])
    address = await tab.until("location.hash.split('/').length === 4 && location.hash")
    await tab.click("#fresh")
    assert await tab.run("document.querySelectorAll('.answer').length") == 0
    assert await tab.run("location.hash") == "#ask/own/own"
    assert "How much leave?2 questions" in await tab.until("document.querySelector('#conversations li')?.textContent")
    await tab.click("#conversations a")
    await tab.until("document.querySelectorAll('.answer').length === 2")
    assert await tab.run("location.hash") == address
    await ask(tab, "And now?")
    assert len(fakes.connectors["own"].prompts[2].messages) > len(messages)


async def test_conversation_has_an_address(tab: Any, running: Any) -> None:
    """It opens in a new page, with its pipeline and its context."""
    await tab.go(running.origin + "/#ask/own/own")
    await tab.until("document.querySelector('#pipeline').value === 'own'")
    await ask(tab, "How much leave?")
    address = await tab.until("location.hash.split('/').length === 4 && location.href")
    await again(tab, address)
    assert await tab.text("#thread .asked") == "How much leave?"
    assert await tab.run("document.querySelector('#pipeline').value") == "own"


async def test_citations_of_a_conversation_open_again(tab: Any, running: Any, fakes: Any) -> None:
    """In any tab, also where the document is another by then; what an older version kept is plain text, and said so."""
    fakes.connectors["main"].replies = ["There are 28 days [1], not 30 [7].", "None is cited."]
    await tab.go(running.origin + "/#ask/talk/handbook")
    await tab.until("document.querySelector('#context').value === 'handbook'")
    await ask(tab, "How much leave?")
    await ask(tab, "And now?")
    sent = await tab.run("document.querySelector('.source bdi').textContent")
    address = await tab.until("location.hash.split('/').length === 4 && location.href")
    assert await tab.run("sessionStorage.length") == 0
    await again(tab, address)
    assert await tab.run("document.querySelectorAll('.citation').length") == 1
    assert await tab.text("#thread > .hint") == "To ask further, write below."
    await tab.click(".citation")
    assert sent in await tab.text("#passage-title")
    text = await tab.text("#passage-text")
    await tab.click("#passage-whole")
    await tab.until("document.querySelector('#item').open")
    assert await tab.text("#item-title") == sent

    await running.store.remove("handbook", ["leave", "trains", "flights"])
    await again(tab, address)
    await tab.click(".citation")
    assert await tab.text("#passage-text") == text

    await running.store.write(lambda connection: connection.execute("UPDATE turns SET passages = NULL"))
    await again(tab, address)
    assert await tab.run("document.querySelectorAll('.citation').length") == 0
    assert "plain text" in await tab.text("#thread > .hint")


async def test_conversation_is_deleted_once_it_is_confirmed(tab: Any, running: Any) -> None:
    """And one whose address is opened afterwards is said to be gone."""
    await tab.go(running.origin + "/#ask/own/own")
    await tab.until("document.querySelector('#pipeline').value === 'own'")
    await ask(tab, "How much leave?")
    address = await tab.until("location.hash.split('/').length === 4 && location.hash")
    await tab.click("#fresh")
    await tab.until("document.querySelector('#conversations .delete') !== null")
    await tab.click("#conversations .delete")
    assert "1 question " in await confirm(tab)
    await tab.until("document.querySelector('#conversations-said').textContent.includes('none yet')")
    assert (await running.call("GET", "/api/conversations"))[1]["conversations"] == []
    await tab.run(f"location.hash = '{address}'")
    assert "no conversation" in await tab.until("document.querySelector('#thread .problem')?.textContent")


async def test_conversation_is_renamed(tab: Any, running: Any) -> None:
    """In its row, by Enter; Escape leaves the title as it was, and each gives the focus back."""
    told = {"query": "How much leave?", "answer": "28 days.", "model": "main", "run_id": "1"}
    await running.store.conversations.add("monday", **told)
    await tab.size(1440, 900)
    await tab.go(running.origin + "/#ask/own/own")
    title, focused = "document.querySelector('#conversations a bdi')?.textContent", "document.activeElement.className"
    assert await tab.until(title) == "How much leave?"
    for written, key, shown in (("Not this", "Escape", "How much leave?"), ("Leave <b>", "Enter", "Leave <b>")):
        await tab.click("#conversations .rename")
        await tab.write("#conversations input", written)  # over the old title, which is selected
        await tab.press(key)
        await tab.until(f"{title} === {json.dumps(shown)} && {focused}.includes('rename')")
    assert (await running.store.conversations.get("monday")).title == "Leave <b>"
    await tab.run("location.reload()")
    assert await tab.until(title) == "Leave <b>"


async def test_default_model_is_chosen_and_figures_cleared(tab: Any, running: Any) -> None:
    """The button of a model makes it the default of its pipeline; the figures are cleared once it is confirmed."""
    await running.call("POST", "/api/queries", json={"query": "?", "pipeline": "own", "contextId": "own"})
    await tab.go(running.origin)
    await tab.click("nav a[href='#models']")
    await tab.until("document.querySelector('#models td button') !== null")
    assert "100.0 %" in await tab.text("#models")
    assert "not kept" in await tab.text("#models [data-name='This month']")
    assert "is kept for pipelines with sinks" in await tab.text("#models-month")
    await tab.click("#models [data-model='talk/spare']")
    await tab.until("document.querySelector('#models-said').textContent.includes('spare is now the default of talk')")
    assert await tab.run("document.querySelector('#models [data-model=\"talk/main\"]') !== null")
    await tab.click("#clear-figures")
    await confirm(tab)
    await tab.until("document.querySelector('#models-said').textContent === 'Cleared.'")
    assert "100.0 %" not in await tab.text("#models")


async def test_models_tell_their_prices_and_what_this_month_has_cost(tab: Any, start: Any) -> None:
    """Of a model whose price is known, and of all together, out of the store."""
    priced = OWN.replace("to: own}", "to: own, prices: {input: 100, cached: 10, output: 1000}}")
    running = await start(pipelines={"own": priced})
    row = DailyUsage(
        day="2999-01-01", pipeline="own", model="main", model_id="fake-1", outcome="ok", attempts=3, requests=3,
        prompt_tokens=10, completion_tokens=5, reasoning_tokens=0, cached_tokens=0, unreported=0, estimated=0,
        cost=1.25, unpriced=1, duration_s=1.5,
    )  # fmt: skip
    await running.store.add_usage([row])
    await tab.go(running.origin)
    await tab.run("location.hash = '#models'")
    await tab.until("document.querySelector('#models td') !== null")
    assert "$1.25 for 3 requests, of which 1 of unknown cost" in await tab.text("#models-month")
    assert "$1.25and 1 of unknown cost3 requests" in await tab.text("#models [data-name='This month']")
    assert "100 / 1000read again 10" in await tab.text("#models [data-name^='$ in']")
    assert "4,096" in await tab.text("#models [data-name='Window']")


async def test_views_say_that_there_is_nothing(tab: Any, start: Any) -> None:
    """Without any context and conversation each view says what to do first."""
    running = await start()
    await tab.go(running.origin)
    assert "no context yet" in await tab.until("document.querySelector('#about .notice')?.textContent")
    for view, said in (("conversations", "none yet"), ("contexts", "none yet")):
        await tab.run(f"location.hash = '#{view}'")
        assert said in await tab.until(f"document.querySelector('#{view}-said').textContent")


async def test_address_of_what_is_not_there_is_told(tab: Any, running: Any) -> None:
    """A context or an item that is gone, and an address that is broken."""
    await tab.go(running.origin + "/#contexts/gone")
    assert "“gone”" in await tab.until("document.querySelector('#contexts-said .problem')?.textContent")
    await tab.run("location.hash = '#contexts/%zz'")
    await tab.until("document.querySelector('#contexts-said .problem')?.textContent.includes('“%zz”')")
    await tab.run("location.hash = '#contexts/handbook/items/gone'")
    assert "no item 'gone'" in await tab.until("document.querySelector('#items-said .problem')?.textContent")
    assert await tab.run("document.querySelectorAll('#items li').length") == 3


async def test_documents_are_found_by_name(tab: Any, running: Any) -> None:
    """On the server, for there may be more of them than are shown."""
    for number in range(103):
        await running.call("POST", f"/api/contexts/handbook/documents?name={number:03}.txt", data=b"Parking is free.")
    await tab.go(running.origin + "/#contexts/handbook/documents")
    await tab.until("document.querySelector('#documents-title').textContent === '100 documents, and more'")
    for words, title in (("102.T", "1 document"), ("none", "No document has this in its name")):
        await tab.run("document.querySelector('#document-words').select()")
        await tab.write("#document-words", words)
        await tab.until(f"document.querySelector('#documents-title').textContent === '{title}'")
    assert await tab.run("document.querySelectorAll('#documents li').length") == 0


async def test_skipped_files_stand_apart_with_their_reasons(tab: Any, running: Any, tmp_path: Path) -> None:
    """Below the documents, and not among them; of one that was sent it is told what to do, until it is forgotten."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "old.exe").write_bytes(b"\x1f\x8b\x08\0\0")
    files = PluginRegistry.installed().component(Kind.SOURCE, "files")(paths=".", root=str(tmp_path / "docs"))
    await running.store.ingest("handbook", files, origin="docs")
    await tab.go(running.origin + "/#contexts/handbook/documents")
    await tab.until("document.querySelector('#skipped-title').textContent === '1 skipped file'")
    assert "is binary" in await tab.text("#skipped")
    assert await tab.text("#documents-title") == "No documents yet"
    (tmp_path / "<b>.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0")
    await tab.attach("#files", tmp_path / "<b>.png")
    await tab.until("document.querySelector('#skipped-title').textContent === '2 skipped files'")
    await tab.send("Page.reload")
    await tab.until("document.querySelector('#skipped-title')?.textContent === '2 skipped files'")
    assert "send it again once it is mended" in await tab.text("#skipped li")
    await tab.click("#skipped button")
    await tab.until("document.querySelector('#skipped-title').textContent === '1 skipped file'")


async def test_documents_tell_their_state_and_what_is_missing(tab: Any, running: Any) -> None:
    """With their items, and those of which something is said alone; the context tells how large it is, and how read."""
    lines = b'{"id": "a", "text": "The canteen opens at noon."}\nno JSON <b>\n'
    for name, data in (("canteen.jsonl", lines), ("parking.txt", b"Parking is free.")):
        await running.call("POST", f"/api/contexts/handbook/documents?name={name}", data=data)
    await tab.go(running.origin + "/#contexts/handbook/documents")
    await tab.until("document.querySelectorAll('#documents li .badge').length === 2")
    figures = await tab.until("document.querySelector('#opened-figures').textContent")
    assert "2 documents, 78 bytes · searched by words" in figures
    assert await tab.text("#to-documents") == "Documents (2)"
    badges = "[...document.querySelectorAll('#documents .badge')].filter((each) => each.checkVisibility())"
    assert await tab.run(f"{badges}.map((each) => each.textContent)") == ["incomplete", "ready"]
    assert "1 item · 62 bytes · uploaded" in await tab.text("#documents")
    assert "canteen.jsonl:2: is no JSON" in await tab.text("#documents .remarks")
    assert await tab.text("#remarked") == " Only the 1 document with remarks"
    await tab.click("#only-remarked")
    await tab.until("document.querySelectorAll('#documents > li').length === 1")
    assert "canteen.jsonl" in await tab.text("#documents")


async def test_upload_leads_to_a_question(tab: Any, running: Any) -> None:
    """Once the files are in, one click or key asks about them, in the field; what was not taken is counted."""
    await tab.go(running.origin + "/#contexts/handbook/documents")
    await tab.until("document.querySelector('#documents-title').textContent === 'No documents yet'")
    await tab.run("""(() => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File(["Parking is free."], "parking.txt"));
      dataTransfer.items.add(new File([new Uint8Array([0, 1, 2, 255, 0])], "noise.txt"));
      document.querySelector("#drop").dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
    })()""")
    await tab.until("document.querySelector('#uploads .button') !== null")
    assert "1 of 2 files can be asked about" in await tab.text("#uploads")
    await tab.run("document.querySelector('#uploads .button').focus()")
    await tab.press("Enter")
    await tab.until("location.hash === '#ask/quotes/handbook'")
    assert await tab.run("document.activeElement.id") == "query"
    assert await tab.run("document.querySelector('#context').value") == "handbook"
    assert await tab.run("document.querySelector('#about .problem')") is None


async def test_documents_come_page_by_page(tab: Any, running: Any) -> None:
    """A hundred at a time; only the pages that are asked for are read."""
    await running.store.write(lambda connection: add_documents(connection, [(f"{each:05}",) for each in range(10_000)]))
    await tab.go(running.origin + "/#contexts/handbook/documents")
    await tab.until("document.querySelectorAll('#documents > li').length === 100")
    await tab.until("document.querySelector('#opened-figures').textContent.includes('10,000 documents')")
    await tab.click("#documents-more")
    await tab.until("document.querySelectorAll('#documents > li').length === 200")
    assert await tab.text("#documents-title") == "200 documents, and more"
