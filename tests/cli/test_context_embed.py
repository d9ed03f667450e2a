"""`nexus context add --embed`, `embed`, `search --by` and `--where`: a search by meaning, from the shell."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from nexus_core import Item, Pipeline, Store
from nexus_core.cli.main import main
from nexus_core.cli.run_options import PIPELINE, ranking
from nexus_core.toolkit import embedder_named

pytest.importorskip("wordllama")


def nexus(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Return the exit code of a command, and what it printed."""
    with pytest.raises(SystemExit) as ended:
        main([*words])
    shown = capsys.readouterr()
    return int(ended.value.code or 0), shown.out + shown.err


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of three documents, and a store of its own."""
    monkeypatch.setenv("NEXUS_STORE", str(tmp_path / "store"))
    folder = tmp_path / "notes"
    folder.mkdir()
    for name, text in (
        ("dog.md", "---\nyear: 2020\n---\nA dog barks at the postman."),
        ("rates.md", "---\nyear: 2023\n---\nInterest rates rise in autumn."),
        ("cake.md", "---\nyear: 2024\n---\nThe recipe needs flour and eggs."),
    ):
        (folder / name).write_text(text)
    return folder


def test_a_context_is_embedded_as_it_is_made(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A question without a shared word finds its document; the context remembers and shows its model."""
    assert nexus(capsys, "context", "add", "n", str(notes), "--embed", "static")[0] == 0
    told = "by words, and by meaning with static\nvectors of 3 of 3 items, of 256 numbers each\n"
    assert told in nexus(capsys, "context", "show", "n")[1]
    shown = json.loads(nexus(capsys, "context", "show", "n", "--json")[1])
    assert shown["vectors"] == {"dimensions": 256, "items": 3, "total": 3}
    assert {each["reader"].rpartition(" ")[0] for each in shown["documents"]} == {"contextnexus md"}
    code, shown = nexus(capsys, "context", "search", "n", "puppy noise", "--limit", "1", "--json")
    assert (code, json.loads(shown)[0]["id"]) == (0, "notes/dog.md")
    assert nexus(capsys, "context", "search", "n", "puppy noise", "--by", "words")[1].startswith("nothing found")
    assert nexus(capsys, "context", "embed", "n", "--model", "none")[0] == 0
    assert "nexus context embed n" in nexus(capsys, "context", "search", "n", "puppy", "--by", "meaning")[1]


def test_lines_bring_their_own_vectors(notes: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Added to a new context, which takes their model then, or to one that has it; what is no vector is told."""
    row = asyncio.run(embedder_named("static").embed(["A puppy makes noise."]))[0].tolist()
    lines = [{"id": "scan", "text": "Page 17.", "vectors": {"static": row}}, {"id": "bread", "text": "Bread is baked."}]
    file = tmp_path / "lines.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in lines))
    nexus(capsys, "context", "add", "n", str(notes), "--embed", "static", "-q")
    for name in ("n", "new"):
        assert nexus(capsys, "context", "add", name, str(file), "-q", "--embed", "static")[0] == 0
        _, shown = nexus(capsys, "context", "search", name, "loud puppies", "--by", "meaning", "--limit", "1", "--json")
        assert json.loads(shown)[0]["id"] == "scan"
        assert nexus(capsys, "context", "check", name)[0] == 0
    file.write_text(json.dumps({"id": "scan", "text": "Page 17.", "vectors": {"static": [1, 2]}}) + "\n")
    code, shown = nexus(capsys, "context", "add", "n", str(file))
    assert (code, "are 2 numbers: one has 256" in shown) == (1, True), shown
    file.write_text(json.dumps({"id": "scan", "text": "Page 17.", "vectors": "none"}) + "\n")
    code, shown = nexus(capsys, "context", "add", "new", str(file))
    assert (code, "its vectors are of type str" in shown) == (1, True), shown


def test_vectors_of_another_model_are_a_remark(notes: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A mistyped model is told where the context has one and where it is to get one, and nothing is lost."""
    row = asyncio.run(embedder_named("static").embed(["A puppy makes noise."]))[0].tolist()
    file = tmp_path / "lines.jsonl"
    file.write_text(json.dumps({"id": "scan", "text": "Page 17.", "vectors": {"statik": row}}) + "\n")
    code, shown = nexus(capsys, "context", "add", "new", str(file))
    told = "vectors of 'statik' for 1 item are not used until 'new' is embedded with that model, did you mean 'static'?"
    assert (code, told in shown) == (0, True), shown
    nexus(capsys, "context", "add", "n", str(notes), "--embed", "static", "-q")
    code, shown = nexus(capsys, "context", "add", "n", str(file))
    told = "vectors of 'statik' for 1 item are kept and not used, since the model of 'n' is 'static', did you mean"
    assert (code, told in shown) == (0, True), shown
    nexus(capsys, "context", "export", "n", str(tmp_path / "n.jsonl"), "--vectors")
    assert '"statik"' in (tmp_path / "n.jsonl").read_text()
    assert told in nexus(capsys, "context", "import", "n", str(tmp_path / "n.jsonl"))[1]


async def test_the_pipeline_of_a_server_leaves_the_order_to_the_model_of_the_context(
    notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A context without vectors is also ranked by the static table, one with vectors by its own model alone."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    texts = ("A dog barks at the postman.", "Interest rates rise in autumn.", "The recipe needs flour and eggs.")
    items = [Item(id=str(number), text=text) for number, text in enumerate(texts)]
    async with Store() as store:
        for name in ("words", "meaning"):
            await store.create(name)
            await store.add(name, items)
        await store.embed("meaning", "static")
    async with Pipeline.load(PIPELINE, overrides=ranking()) as pipeline:
        seen = {}
        for name in ("words", "meaning"):
            prompt = (await pipeline.explain("postman rates noise", context_id=name)).prompt
            seen[name] = [dict(each.scores) for each in prompt.trace]
    assert any(scores["semantic"] for scores in seen["words"])
    assert [scores["semantic"] for scores in seen["meaning"]] == [0.0] * len(seen["meaning"])
    order = [scores["store"] for scores in seen["meaning"]]
    assert order == sorted(order, reverse=True)


@pytest.mark.parametrize("ranked", ["", "  - rank: bm25\n"])
def test_ask_finds_what_shares_no_word(
    notes: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ranked: str
) -> None:
    """By the default pipeline and by one of your own it is in the prompt, beside what shares a word by chance."""
    for name in ("OPENAI_API_KEY", "NEXUS_MODEL"):
        monkeypatch.delenv(name, raising=False)
    for number in range(40):
        (notes / f"{number}.md").write_text(
            f"The {'figure' if number % 10 else 'noise'} {number} " + "is in the ledger. " * 50
        )
    nexus(capsys, "context", "add", "n", str(notes), "--embed", "static")
    mine = tmp_path / "mine.yaml"
    head = "name: mine\nmodels: {main: {use: extractive}}\nsteps:\n  - gather: store\n"
    mine.write_text(f"{head}{ranked}  - prompt: {{template: qa, budget: 500}}\n  - generate: main\n")
    for more in ([], ["--pipeline", str(mine)]):
        code, shown = nexus(capsys, "ask", "n", "noise that puppies make at a mailman", "--json", *more)
        items = json.loads(shown[shown.index("{") : shown.rindex("}") + 1])["metadata"]["contextItems"]
        assert (code, "notes/dog.md" in {each["id"] for each in items}) == (0, True)


def test_what_was_kept_by_words_is_embedded_later(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And what comes then gets vectors by itself."""
    nexus(capsys, "context", "add", "n", str(notes))
    assert "3 items have new vectors" in nexus(capsys, "context", "embed", "n", "--model", "static")[1]
    (notes / "cat.md").write_text("Kittens purr.")
    nexus(capsys, "context", "add", "n", str(notes))
    shown = nexus(capsys, "context", "search", "n", "cats make sounds", "--by", "meaning", "--limit", "1", "--json")[1]
    assert json.loads(shown)[0]["id"] == "notes/cat.md"


def test_a_folder_of_the_name_of_a_model_is_not_meant(
    notes: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in pipelines: a folder is named by a path with a slash then."""
    monkeypatch.chdir(notes.parent)
    (notes.parent / "static").mkdir()
    assert nexus(capsys, "context", "add", "n", str(notes), "--embed", "static")[0] == 0
    assert "by meaning with static\n" in nexus(capsys, "context", "show", "n")[1]


def test_a_search_is_filtered_by_fields(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As in a pipeline; what is wrong with a filter or a model is told."""
    nexus(capsys, "context", "add", "n", str(notes))
    where = "{year: {gte: 2021}}"
    shown = nexus(capsys, "context", "search", "n", "dog rates flour", "--where", where, "--json")[1]
    assert {item["metadata"]["year"] for item in json.loads(shown)} == {2023, 2024}
    assert "did you mean 'gte'" in nexus(capsys, "context", "search", "n", "x", "--where", "{year: {gtee: 1}}")[1]
    code, told = nexus(capsys, "context", "embed", "n", "--model", "statik")
    assert (code, "static" in told) == (2, True)


UNKNOWN = {
    "model": (("context", "embed", "n", "--model", "~nobody-x/m"), "'~nobody-x/m' cannot"),
    "no model": (("context", "embed", "n", "--model", " "), "the model is empty"),
    "embed": (("context", "add", "n", ".", "--embed", "~nobody-x/m"), "'~nobody-x/m' cannot"),
    "documents": (("context", "add", "n", "~nobody-x/docs"), "~nobody-x/docs"),
    "no date": (("context", "search", "n", "a", "--where", "{day: 2020-13-45}"), "{day: 2020-13-45} is no YAML: month"),
}


@pytest.mark.parametrize(("words", "message"), UNKNOWN.values(), ids=UNKNOWN.keys())
def test_what_names_nothing_is_told(
    notes: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    """A home of nobody, an empty name, a day that is none: in a sentence, with what was written."""
    code, shown = nexus(capsys, *words)
    assert (code, message in shown) == (2, True), shown


def test_a_store_in_the_home_of_nobody_is_told(
    notes: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the variable that names it; nothing is made instead."""
    monkeypatch.setenv("NEXUS_STORE", "~nobody-x/s")
    code, shown = nexus(capsys, "context", "add", "n", str(notes))
    assert (code, "'~nobody-x/s' of NEXUS_STORE" in shown) == (2, True)


def test_phrases_typing_errors_and_counts_are_reached_from_the_shell(
    notes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A phrase in quotes, a word with an error, what is like an item, and how many items a value has."""
    nexus(capsys, "context", "add", "n", str(notes))

    def ids(*words: str) -> list[str]:
        return [item["id"] for item in json.loads(nexus(capsys, "context", "search", "n", *words, "--json")[1])]

    assert ids('"rates rise" dog') == ["notes/rates.md"]
    assert (ids("postmann", "--typos"), ids("flourr")) == (["notes/dog.md"], [])
    assert "notes/dog.md" not in ids("--like", "notes/dog.md")
    counted = nexus(capsys, "context", "items", "n", "--count", "year", "--where", "{year: {gte: 2023}}", "--json")[1]
    assert json.loads(counted) == {"2023": 1, "2024": 1}
    assert "no item has a value of 'x'" in nexus(capsys, "context", "items", "n", "--count", "x")[1]


def test_an_import_tells_how_it_is_searched_by_meaning_again(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the model of the export, whose vectors are taken over and not worked out where the file has them."""
    nexus(capsys, "context", "add", "n", str(notes), "--embed", "static")
    file = str(notes.parent / "n.jsonl")
    nexus(capsys, "context", "export", "n", file, "--vectors")
    told = nexus(capsys, "context", "import", "copy", file)[1]
    assert "`nexus context embed copy --model static` lets it be searched by meaning" in told
    assert "0 items have new vectors" in nexus(capsys, "context", "embed", "copy", "--model", "static")[1]


def test_changed_tags_take_no_vectors_away(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The item is a new row that brings its vectors along, and is counted among those that have some."""
    nexus(capsys, "context", "add", "n", str(notes), "--embed", "static")
    nexus(capsys, "context", "tag", "n", "notes/dog.md", "--add", "pets")
    assert "vectors of 3 of 3 items" in nexus(capsys, "context", "show", "n")[1]
    assert "0 items have new vectors" in nexus(capsys, "context", "embed", "n", "--model", "static")[1]


def test_the_check_tells_what_an_interrupted_embedding_has_left(
    notes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Items came while the model could not be used: that is told until they are embedded by `--repair`."""

    async def interrupt() -> None:
        async with Store() as store:
            await store.write(lambda db: db.execute("UPDATE contexts SET embedder = 'no-such-model'").rowcount)
            await store.add("n", [Item(id="cat", text="Kittens purr.")])
            await store.write(lambda db: db.execute("UPDATE contexts SET embedder = 'static'").rowcount)

    nexus(capsys, "context", "add", "n", str(notes), "--embed", "static", "-q")
    asyncio.run(interrupt())
    code, shown = nexus(capsys, "context", "check", "n")
    assert (code, "1 item in 'n' should have vectors and have none" in shown) == (1, True), shown
    assert nexus(capsys, "context", "check", "n", "--repair") == (0, "all is well\n")
