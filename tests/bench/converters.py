"""Documents into pieces beside LlamaIndex's reader + splitter and Haystack's converters + splitter: CPU, words kept.

    python tests/bench/converters.py FOLDER [--most 600] [--peers PYTHON]

FOLDER holds real documents, such as unpacked Debian -doc packages; HTML, Markdown, text and PDF are read, the same
files by all three, each in a process of its own that has read one file of each format before the clock starts.
`--peers` names the Python of an environment with `llama-index-core llama-index-readers-file haystack-ai trafilatura
lxml_html_clean pypdf markdown-it-py mdit_plain beautifulsoup4`; by default this one.

Words kept: how many of the words that a page shows are in the pieces, each counted as often as it is there. What it
shows is the text of lexbor without script, style, template and navigation (HTML), that of pdfium (PDF), or the file
itself. Words beyond those (overlaps of pieces, navigation, titles) are told, too. Exits 1 where a peer takes less CPU
or keeps more.

Left out: office files, mail and tables, pictures of text, the time of the wall, and what splitting does to answers.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from time import process_time

SUFFIXES = (".html", ".htm", ".md", ".txt", ".pdf")
SUBJECTS = ("contextnexus", "llama-index", "haystack")
_WORD = re.compile(r"\w{2,}")
Convert = Callable[[Sequence[Path]], dict[str, list[str]]]


def ours() -> Convert:
    """Return what reads files into the texts of items."""
    from nexus_core import SourceError
    from nexus_core.toolkit import DocumentReader, FileOrigin

    reader = DocumentReader()

    def convert(paths: Sequence[Path]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for path in paths:
            with path.open("rb") as file:
                try:
                    items = reader.items(file, FileOrigin(name=str(path))).items
                    found[str(path)] = [f"{item.title}\n{item.text}" for item in items]
                except SourceError:
                    found[str(path)] = []
        return found

    return convert


def llama_index() -> Convert:
    """Return LlamaIndex's reader with its splitter, HTML by its own reader of tags."""
    from llama_index.core import SimpleDirectoryReader
    from llama_index.core.node_parser import SentenceSplitter
    from llama_index.readers.file import HTMLTagReader

    html = HTMLTagReader(tag="body", ignore_no_id=False)
    splitter = SentenceSplitter()

    def convert(paths: Sequence[Path]) -> dict[str, list[str]]:
        reader = SimpleDirectoryReader(
            input_files=[str(path) for path in paths], file_extractor={".html": html, ".htm": html}
        )
        found: dict[str, list[str]] = {str(path): [] for path in paths}
        for node in splitter.get_nodes_from_documents(reader.load_data()):
            found.setdefault(node.metadata["file_path"], []).append(node.get_content())
        return found

    return convert


def haystack() -> Convert:
    """Return Haystack's converters with its splitter."""
    from haystack.components.converters import HTMLToDocument, MarkdownToDocument, PyPDFToDocument, TextFileToDocument
    from haystack.components.preprocessors import DocumentSplitter

    html, splitter = HTMLToDocument(), DocumentSplitter(split_by="word", split_length=200)
    by_suffix = {
        ".html": html,
        ".htm": html,
        ".md": MarkdownToDocument(progress_bar=False),
        ".txt": TextFileToDocument(),
        ".pdf": PyPDFToDocument(),
    }
    splitter.warm_up()

    def convert(paths: Sequence[Path]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {str(path): [] for path in paths}
        for path in paths:
            documents = by_suffix[path.suffix.lower()].run(sources=[path])["documents"]
            for piece in splitter.run(documents=[each for each in documents if each.content])["documents"]:
                found[str(path)].append(piece.content)
        return found

    return convert


def shown(path: Path) -> Counter[str]:
    """Return the words that a document shows."""
    data = path.read_bytes()
    if path.suffix.lower() == ".pdf":
        import pypdfium2

        text = "\n".join(page.get_textpage().get_text_range() for page in pypdfium2.PdfDocument(data))
    elif path.suffix.lower() in (".html", ".htm"):
        from selectolax.lexbor import LexborHTMLParser

        tree = LexborHTMLParser(data)
        for node in tree.css("script, style, template, head, nav, [role=navigation]"):
            node.decompose()
        text = tree.body.text(separator=" ") if tree.body else ""
    else:
        text = data.decode("utf-8", "replace")
    return words([text])


def words(texts: Iterable[str]) -> Counter[str]:
    """Return how often each word comes."""
    return Counter(word for text in texts for word in _WORD.findall(text))


def measure(subject: str, paths: Sequence[Path], warm: Sequence[Path]) -> None:
    """Print as JSON the CPU that one subject takes, and the pieces it makes."""
    convert = {"contextnexus": ours, "llama-index": llama_index, "haystack": haystack}[subject]()
    convert(warm)
    began = process_time()
    found = convert(paths)
    print(json.dumps({"cpu": process_time() - began, "pieces": found}))


def chosen(folder: Path, most: int) -> list[Path]:
    """Return at most so many of the files, those of all formats."""
    by_suffix: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.is_symlink() and path.stat().st_size:
            by_suffix.setdefault(path.suffix.lower(), []).append(path)
    total = sum(map(len, by_suffix.values()))
    return [path for group in by_suffix.values() for path in group[:: max(1, -(-total // most))]]


def main() -> None:
    """Compare, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--most", type=int, default=600)
    parser.add_argument("--peers", default=sys.executable)
    parser.add_argument("--measure", choices=SUBJECTS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    paths = chosen(asked.folder, asked.most)
    warm = list({path.suffix.lower(): path for path in reversed(paths)}.values())
    if asked.measure:
        measure(asked.measure, paths, warm)
        return
    reference = {str(path): shown(path) for path in paths}
    total = sum(sum(each.values()) for each in reference.values())
    print(f"{len(paths)} files, {total:,} words")
    figures = {}
    for subject in SUBJECTS:
        python = sys.executable if subject == "contextnexus" else asked.peers
        command = [python, __file__, str(asked.folder), "--most", str(asked.most), "--measure", subject]
        told = json.loads(subprocess.run(command, check=True, capture_output=True).stdout.splitlines()[-1])
        kept = again = 0
        for path, expected in reference.items():
            found = words(told["pieces"].get(path, []))
            kept += sum((expected & found).values())
            again += sum((found - expected).values())
        figures[subject] = (told["cpu"], kept / total)
        rate = len(paths) / told["cpu"]
        print(f"{subject:13} {told['cpu']:7.2f} s CPU {rate:8.1f} files/s   {kept / total:6.1%} of the words kept"
              f"   {again / total:6.1%} said beyond")  # fmt: skip
    cpu, kept_share = figures["contextnexus"]
    sys.exit(any(cpu > other or kept_share < share for other, share in list(figures.values())[1:]))


if __name__ == "__main__":
    main()
