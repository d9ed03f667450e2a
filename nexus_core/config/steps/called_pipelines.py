"""Called pipelines: the other pipeline files that a file names, in `call` steps or in options of components.

Each is checked once, with all that it calls in its turn. What is wrong with it is told at its own places, with the
problems of the file that calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from attrs import define, evolve, field

from nexus_core.config.components import PluginCatalog
from nexus_core.config.sibling_files import FileRefusedError, SiblingFiles
from nexus_core.config.spec import PipelineReference, PipelineSpec
from nexus_core.config.yaml.problems import Problems, SourceLocation, quoted
from nexus_core.config.yaml.tree import Node, ScalarNode, UnreadableNode, shown
from nexus_core.contract.errors import Problem

DEEPEST = 8
"""So many pipelines deep may calls nest, the one that runs not counted."""


class CheckedPipeline(Protocol):
    """What came of checking a pipeline file."""

    @property
    def spec(self) -> PipelineSpec | None:
        """The pipeline, `None` where there is any error."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with it."""

    @property
    def catalogue(self) -> PluginCatalog:
        """With its own plugin files."""


@define(eq=False, repr=False)
class CalledPipelines:
    """Finds the pipelines that one file calls."""

    folder: SiblingFiles
    problems: Problems
    check: Callable[[Path, CalledPipelines], CheckedPipeline | None]
    """Checks a file; given what is known of the others. Returns `None` where it cannot be read."""
    above: tuple[tuple[str, str], ...] = ()
    """The files that are being checked, by their resolved paths and as they are shown, this one last."""
    checked: dict[str, CheckedPipeline] = field(factory=dict)
    """By resolved path; of all files together."""
    depths: dict[str, int] = field(factory=dict)
    """How deep the calls of each of them nest."""
    used: dict[str, None] = field(factory=dict)
    """Those that this file calls."""

    @classmethod
    def of(
        cls, folder: SiblingFiles, problems: Problems, check: Callable[[Path, CalledPipelines], CheckedPipeline | None]
    ) -> CalledPipelines:
        """Return the calls of a file that no other one has called."""
        own = Path(folder.pipeline)
        return cls(folder, problems, check, ((str(own.resolve()), str(own)),))

    def below(self, shown_path: Path, path: Path, problems: Problems) -> CalledPipelines:
        """Return the calls of a file that this one calls."""
        above = (*self.above, (str(path), str(shown_path)))
        folder = evolve(self.folder, pipeline=str(shown_path))
        return CalledPipelines(folder, problems, self.check, above, self.checked, self.depths)

    @property
    def depth(self) -> int:
        """How deep the calls of this file nest: 0 where it calls none."""
        return max([1 + self.depths[path] for path in self.used], default=0)

    def find(self, node: Node) -> tuple[PipelineReference, PipelineSpec] | None:
        """Return the pipeline that a text names, checked; `None` after noting what is wrong."""
        if not isinstance(node, ScalarNode) or not isinstance(node.value, str):
            if not isinstance(node, UnreadableNode):
                message = f"a pipeline is named by its file, as in ./other.yaml, found {shown(node)}"
                self.problems.error("T001", node.place, message)
            return None
        try:
            shown_path, path = self.folder.called(node.text)
        except FileRefusedError as error:
            self.problems.error("C001", node.place, f"the pipeline {shown(node)} cannot be called: {error}")
            return None
        key = str(path)
        if self._is_circle(key, node.place):
            return None
        if key not in self.checked:
            self._check(shown_path, path, node.place)
        found = self.checked.get(key)
        if found is None:
            return None
        if len(self.above) + self.depths[key] > DEEPEST:
            self._too_deep(node.place, str(shown_path))
            return None
        self.problems.include(problem for problem in found.problems if problem.severity == "error")
        if found.spec is None:
            return None
        self.used[key] = None
        return PipelineReference(path=key, name=found.spec.name, place=node.place), found.spec

    def reached(self) -> Mapping[str, CheckedPipeline]:
        """Return whatever is called, by this file or by those that it calls."""
        return self.checked if len(self.above) == 1 else {}

    def _check(self, shown_path: Path, path: Path, place: SourceLocation) -> None:
        if len(self.above) > DEEPEST:
            self._too_deep(place, str(shown_path))
            return
        calls = self.below(shown_path, path, Problems(str(shown_path)))
        found = self.check(shown_path, calls)
        if found is None:
            self.problems.error("C001", place, f"the pipeline {quoted(str(shown_path))} cannot be read")
            return
        self.checked[str(path)] = found
        self.depths[str(path)] = calls.depth

    def _is_circle(self, key: str, place: SourceLocation) -> bool:
        paths = [path for path, _ in self.above]
        if key not in paths:
            return False
        names = [shown_path for _, shown_path in self.above[paths.index(key) :]]
        way = ", which calls ".join([*names[1:], names[0]])
        self.problems.error("C002", place, f"pipelines call each other in a circle: {names[0]} calls {way}")
        return True

    def _too_deep(self, place: SourceLocation, name: str) -> None:
        message = f"calls of pipelines nest more than {DEEPEST} deep with {quoted(name)}: call it from further up"
        self.problems.error("C002", place, message)
