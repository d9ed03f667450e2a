"""The reader of source code: by grammars, and by lines where there is none."""

from __future__ import annotations

import pytest
from nexus_readers import code_grammars

from nexus_core import Code, Heading
from tests.plugins.readers.reading import blocks_of, grows_in_proportion, items_of, only

BODY = {".py": "    work()\n" * 200, ".sh": "    work 1\n" * 200}
OTHER_BODY = "    work();\n" * 200
LONG = {
    ".py": "class A:\n    def m(self):\n        pass\n{}\n# about f\n@wraps\ndef f(x):\n    return 4711\n",
    ".js": "class A {{\n  m() {{\n{}}}\n}}\n// about f\nexport const f = async (x) => {{\n  return 4711\n}}\n",
    ".ts": "abstract class A<T> {{\n  m(): void {{\n{}}}\n}}\n/** about f */\nexport function f() {{\n  g(4711)\n}}\n",
    ".go": "package p\nfunc (s *A[T]) m() {{\n{}}}\n// about f\nfunc f(x int) int {{\n  return 4711\n}}\n",
    ".rs": "impl Tr for A {{\n  fn m() {{\n{}}}\n}}\n/// about f\n#[inline]\npub fn f() -> u16 {{\n  4711\n}}\n",
    ".java": "class A {{\n  void m() {{\n{}}}\n}}\n/** about f */\n@X\nclass f {{\n  int g = 4711;\n}}\n",
    ".c": "struct A m(int x)\n{{\n{}}}\n/* about f */\nstatic char *f(void)\n{{\n  return 4711;\n}}\n",
    ".cpp": "int A::m() {{\n{}}}\n// about f\ntemplate <class T> int f(T x) {{\n  return 4711;\n}}\n",
    ".cs": "class A {{\n  void m() {{\n{}}}\n}}\n/// about f\nstruct f {{\n  int g = 4711;\n}}\n",
    ".rb": "module A\n  def m\n{}  end\nend\n# about f\ndef f(x)\n  4711\nend\n",
    ".php": "<?php\nclass A {{\n  function m() {{\n{}}}\n}}\n/** about f */\nfunction f($x) {{\n  return 4711;\n}}\n",
    ".sh": "m() {{\n{}}}\n# about f\nfunction f {{\n  echo 4711\n}}\n",
    ".scala": "object A {{\n  def m() = {{\n{}}}\n}}\n// about f\nclass f {{\n  val g = 4711\n}}\n",
    ".kt": "class A {{\n  fun m() {{\n{}}}\n}}\n// about f\nfun f(x: Int) {{\n  g(4711)\n}}\n",
    ".swift": "class A {{\n  func m() {{\n{}}}\n}}\n// about f\nfunc f() {{\n  g(4711)\n}}\n",
    ".lua": "function A.m()\n{}end\n-- about f\nlocal function f(x)\n  return 4711\nend\n",
}


@pytest.fixture(params=["grammar", "lines"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "lines":
        monkeypatch.setattr(code_grammars, "_GRAMMARS", {})
    else:
        pytest.importorskip("tree_sitter")
    return str(request.param)


@pytest.mark.parametrize("suffix", LONG)
def test_code_sections_are_functions_with_what_is_above_them(suffix: str) -> None:
    """In sixteen languages: the comment and the decorators right above belong to a function; lines are told."""
    pytest.importorskip("tree_sitter")
    text = LONG[suffix].format(BODY.get(suffix, OTHER_BODY))
    (found,) = [item for item in items_of(text, f"a{suffix}") if "4711" in item.text]
    assert found.title == f"a{suffix} > f"
    assert "about f" in found.text.splitlines()[0]
    assert found.kind == "code"
    assert found.metadata["line"] == text[: text.index(found.text)].count("\n") + 1


def test_code_methods_are_called_with_their_class() -> None:
    """`Class.method`; a small class is one section, and small neighbours stand together."""
    pytest.importorskip("tree_sitter")
    methods = "".join(f"    def m{n}(self):\n{'        work()' * 70}\n\n" for n in range(3))
    small = "class Small:\n    def a(self): ...\n    def b(self): ...\n"
    text = f"import x\n\n\nclass Big:\n    '''Doc.'''\n\n{methods}\n{small}"
    names = [block.text for block in only(Heading, blocks_of(text, "a.py"))]
    assert names == ["Big", "Big.m0", "Big.m1", "Big.m2", "Small"]
    assert all(block.implied for block in only(Heading, blocks_of(text, "a.py")))


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("suffix", LONG)
def test_code_loses_no_line_and_repeats_none(suffix: str) -> None:
    """All lines come once and in their order, with their numbers."""
    text = LONG[suffix].format(BODY.get(suffix, OTHER_BODY)) * 3 + "\nlast = 1\n"
    blocks = only(Code, blocks_of(text, f"a{suffix}"))
    assert [line for block in blocks for line in block.text.split("\n") if line] == [
        line for line in text.split("\n") if line
    ]
    lines = text.split("\n")
    assert all(lines[(block.place.line or 0) - 1] == block.text.split("\n")[0] for block in blocks)


DEFINITIONS = {
    ".py": "async def alpha(x):",
    ".js": "export const alpha = async (x) => {",
    ".ts": "export default class Alpha {",
    ".go": "func (s *Store) alpha(x int) error {",
    ".rs": "pub(crate) async fn alpha(x: u8) {",
    ".java": "public static int alpha(int x) {",
    ".c": "static char *alpha(const char *x) {",
    ".sql": "CREATE OR REPLACE VIEW alpha AS",
}


@pytest.mark.parametrize("suffix", DEFINITIONS)
def test_code_without_grammars_is_named_by_its_lines(suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions and classes of many languages are recognised by how their lines begin."""
    monkeypatch.setattr(code_grammars, "_GRAMMARS", {})
    headings = only(Heading, blocks_of(f"{DEFINITIONS[suffix]}\n  return x\n", f"a{suffix}"))
    assert [block.text.lower() for block in headings] == ["alpha"]


def test_code_without_grammars_is_cut_between_definitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each section holds whole functions, and a long class goes on under its name."""
    monkeypatch.setattr(code_grammars, "_GRAMMARS", {})
    functions = [f"def f{n}():\n" + "    work()\n" * 30 for n in range(20)]
    methods = "class Big:\n" + "".join(f"    def m{n}(self):\n" + "        work()\n" * 30 + "\n" for n in range(20))
    items = items_of("\n\n".join([*functions, methods]), "a.py")
    assert all(item.text.startswith(("def f", "class Big", "    ")) for item in items)
    assert items[-1].metadata["headings"][0] == "Big"
    assert len(items) > 5


def test_code_on_one_line_is_cut() -> None:
    """A minified script becomes items of a size that a person can open."""
    items = items_of("".join(f"function f{n}(){{return {n}}};" for n in range(12_000)), "app.min.js")
    assert max(len(item.text) for item in items) <= 6_000
    assert any("return 6000}" in item.text for item in items)


@pytest.mark.slow
@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("again", ["def f@():\n    pass\n\n", "x = (\n", "class A:\n", "# c\n", "@d\n", "if x: a\n"])
def test_code_cost_grows_in_proportion(again: str) -> None:
    """Twice the code costs twice as much, well-formed or not."""
    assert grows_in_proportion("a.py", lambda size: again * (size // len(again)))
