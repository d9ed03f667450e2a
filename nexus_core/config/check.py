"""From the text of a pipeline file to its specification, or to every problem it has.

Opens nothing, builds nothing, touches no network, and never raises because of what the text is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field, frozen

from nexus_core.config.components import Components, PluginCatalog
from nexus_core.config.expressions import Expressions, report_stray
from nexus_core.config.keys import PipelineKeys, keys_of
from nexus_core.config.models import ModelSpecs, read_models
from nexus_core.config.names import written_out
from nexus_core.config.policy_keys import call_policy, report_useless
from nexus_core.config.prompts import Prompts
from nexus_core.config.sibling_files import STANDARD_INPUT, FileRefusedError, SiblingFiles, UnsavedTexts, read_start
from nexus_core.config.spec import PipelineReference, PipelineSpec
from nexus_core.config.steps.called_pipelines import CalledPipelines, CheckedPipeline
from nexus_core.config.steps.inputs import read_inputs
from nexus_core.config.steps.order import check_order, check_rewrite, check_whole
from nexus_core.config.steps.reader import Steps
from nexus_core.config.yaml.environment import interpolate
from nexus_core.config.yaml.overrides import apply
from nexus_core.config.yaml.problems import Problems, SourceLocation, quoted
from nexus_core.config.yaml.reader import MOST_BYTES, read
from nexus_core.config.yaml.tree import MappingNode, Node, ScalarNode, SequenceNode, UnreadableNode, shown
from nexus_core.contract.errors import Problem

if TYPE_CHECKING:
    from nexus_core.config.cases.reader import PlacedCase
    from nexus_core.config.options import Options
    from nexus_core.config.policies import CallPolicy, OnStreamFailure
    from nexus_core.config.spec import InputSpec

_READ_APART = ("models", "default", "steps", "inputs", "plugins", "calls", "tests")

ReadTests = Callable[["Node | None", "Options", ModelSpecs, "tuple[InputSpec, ...] | None"], "tuple[PlacedCase, ...]"]
"""Reads the tests of a pipeline, as `cases.reader.read_cases` does; given to `check`, so that only those who want the
tests pay for them."""


@frozen(eq=False, repr=False)
class Checked:
    """What came of checking a file."""

    spec: PipelineSpec | None
    """`None` when there is any error."""
    problems: tuple[Problem, ...]
    """In the order of the file, warnings among them."""
    catalogue: PluginCatalog
    """With the plugin files of the pipeline, so that they are not imported twice."""
    tests: tuple[PlacedCase, ...] = ()
    """Those of the pipeline, where they were to be read."""
    called: Mapping[str, CheckedPipeline] = field(factory=dict)
    """The other pipelines that it calls, and those that they call, by their paths."""


def check(
    source: str | bytes,
    file: str,
    catalogue: PluginCatalog,
    environment: Mapping[str, str],
    overrides: Sequence[str] = (),
    *,
    run_plugins: bool = True,
    read_tests: ReadTests | None = None,
    unsaved: UnsavedTexts | None = None,
) -> Checked:
    """Check the text of a pipeline file; `file` is its path, or `-` for standard input.

    Without `run_plugins` its plugin files are not run: what they offer is taken for right, with any options. The
    specification is then no one to build from. Without `read_tests` the tests of the pipeline are not looked at: what
    is wrong with one keeps no pipeline from running. `unsaved` holds the texts of files beside it that an editor has
    open; plugin files are run as they are saved.
    """
    reader = _FileReader(catalogue, environment, run_plugins)
    calls = CalledPipelines.of(SiblingFiles(file, unsaved or {}), Problems(file), reader.check_called)
    return reader.check(source, file, calls, overrides, read_tests)


@frozen(eq=False, repr=False)
class _FileReader:
    """Checks a pipeline file and those that it calls."""

    catalogue: PluginCatalog
    """Without the plugin files of any of them."""
    environment: Mapping[str, str]
    run_plugins: bool

    def check_called(self, file: Path, calls: CalledPipelines) -> Checked | None:
        """Return what came of checking a file that another one calls, `None` where it cannot be read."""
        try:
            source = read_start(file, MOST_BYTES, calls.folder.unsaved)
        except OSError:
            return None
        return self.check(source, str(file), calls)

    def check(
        self,
        source: str | bytes,
        file: str,
        calls: CalledPipelines,
        overrides: Sequence[str] = (),
        read_tests: ReadTests | None = None,
    ) -> Checked:
        """Return what came of checking the text of a file."""
        problems, catalogue = calls.problems, self.catalogue
        tree = _tree(source, file, self.environment, overrides, problems, with_tests=read_tests is not None)
        spec, tests = None, ()
        if tree is not None:
            reading = _Reading(tree, calls, problems, catalogue, self.run_plugins, read_tests)
            files = reading.plugin_files()
            before, fields, catalogue = problems.copy(), reading.fields(files), reading.catalogue
            tests = fields.pop("tests")
            if not problems.errors:
                spec = PipelineSpec(**fields, path=None if file == STANDARD_INPUT else file)
            else:
                problems = _settled(reading, files, before)
        return Checked(spec, problems.listed(), catalogue, tests, calls.reached())


def _settled(reading: _Reading, files: dict[Path, ScalarNode], before: Problems) -> Problems:
    """Return the problems of a file, read with keys that slipped out of their mapping where they belong."""
    from nexus_core.config.yaml.misplaced_keys import MisplacedKeys  # only mistakes pay for it

    known = before.errors
    tree = MisplacedKeys(reading.catalogue, before).settle(reading.tree)
    if before.errors == known or not isinstance(tree, MappingNode):
        return reading.problems
    evolve(reading, tree=tree, problems=before, calls=evolve(reading.calls, problems=before)).fields(files)
    return before


def _tree(
    source: str | bytes,
    file: str,
    environment: Mapping[str, str],
    overrides: Sequence[str],
    problems: Problems,
    *,
    with_tests: bool,
) -> MappingNode | None:
    """Return the tree with overrides and environment applied, or `None` after noting why there is none."""
    tree = read(source, file, problems)
    if tree is None and problems.errors:
        return None
    if not isinstance(tree, MappingNode):
        if not isinstance(tree, UnreadableNode):
            problems.error("S001", *_no_pipeline(tree, file))
        return None
    if not with_tests and "tests" in tree:
        tree = evolve(tree, entries=tuple(entry for entry in tree.entries if entry.key.text != "tests"))
    tree = apply(tree, overrides, problems)
    report_stray(tree, problems)
    final = interpolate(tree, environment, problems)
    return final if isinstance(final, MappingNode) else None


def _no_pipeline(tree: Node | None, file: str) -> tuple[SourceLocation, str]:
    if tree is None or (isinstance(tree, ScalarNode) and tree.value is None):
        return SourceLocation(file), "the file is empty: a pipeline needs at least `name: ...` and `steps: [...]`"
    hint = "; each key needs ': ' after it, with the space" if isinstance(tree, ScalarNode) and ":" in tree.text else ""
    return tree.place, f"a pipeline is a mapping with `name` and `steps`, found {shown(tree)}{hint}"


@define(eq=False, repr=False)
class _Reading:
    """Reads the parts of a pipeline in the order in which they depend on each other."""

    tree: MappingNode
    calls: CalledPipelines
    problems: Problems
    catalogue: PluginCatalog
    run_plugins: bool
    read_tests: ReadTests | None = None

    def plugin_files(self) -> dict[Path, ScalarNode]:
        """Return the plugin files, which are in the catalogue from now on."""
        files = self._plugin_files(self.tree.get("plugins"))
        if files and self.run_plugins:
            self.catalogue = self.catalogue.with_files(list(files))
        return files

    def fields(self, files: Mapping[Path, ScalarNode]) -> dict[str, Any]:
        """Return the fields of a PipelineSpec; some are missing or partial where there are errors."""
        not_run = frozenset[str]() if self.run_plugins else frozenset(path.stem for path in files)
        components = Components(self.problems, self.catalogue, not_run=not_run, find_pipeline=self._find_pipeline)
        given = components.options.mapping(self.tree, keys_of(PipelineKeys), "a pipeline", skip=_READ_APART)
        inputs = read_inputs(self.tree.get("inputs"), components.options)
        models = read_models(self.tree.get("models"), components)
        components.models = models.names
        default = self._default_model(self.tree.get("default"), models)
        given["calls"] = calls = self._calls(given.pop("on_stream_failure", None), components)
        expressions = Expressions(self.problems)
        steps = Steps(
            components=components,
            expressions=expressions,
            prompts=Prompts(components, expressions, self.calls.folder),
            models=models,
            called=self.calls,
            inputs=None if inputs is None else frozenset(spec.name for spec in inputs),
            default_model=default,
        )
        given["steps"] = steps.read(self.tree.get("steps"))
        if steps.complete:
            check_order(steps.outlines, self.problems)
        if not self.problems.errors:  # what is misspelt would be reported once more as unused
            check_whole(steps.outlines, self.problems)
            if given.get("rewrite"):
                check_rewrite(steps.outlines, self.tree.get("rewrite"), self.problems)
            if not components.used & not_run:  # whose options may name any model
                models.report_unused(steps.used_models | components.used_models, self.problems)
            self._report_unused_files(files, components.used)
            self._report_useless(models, calls, steps.with_tools)
        given["tests"] = ()
        if self.read_tests is not None:
            known = evolve(models, names={**models.names, **self._called_models()})
            given["tests"] = self.read_tests(self.tree.get("tests"), components.options, known, inputs)
        paths = tuple(str(path) for path in files)
        return {**given, "inputs": inputs, "models": models.specs, "default_model": default, "plugin_files": paths}

    def _called_models(self) -> dict[str, str]:
        """Return the models of the pipelines that are called, as the ledger calls them."""
        specs = [checked.spec for checked in self.calls.reached().values() if checked.spec is not None]
        names = [f"{spec.name}/{model.name}" for spec in specs for model in spec.models]
        return dict(zip(names, names, strict=True))

    def _find_pipeline(self, node: Node) -> PipelineReference | None:
        found = self.calls.find(node)
        return None if found is None else found[0]

    def _calls(self, on_stream_failure: OnStreamFailure | None, components: Components) -> CallPolicy | None:
        node = self.tree.get("calls")
        if node is None and on_stream_failure is None:
            return None
        return call_policy(node, on_stream_failure, components.options)

    def _report_useless(self, models: ModelSpecs, calls: CallPolicy | None, with_tools: Sequence[str]) -> None:
        if calls is not None or any(spec.retry or spec.limits for spec in models.specs):
            report_useless(self.tree, models.specs, calls, with_tools, self.problems)

    def _default_model(self, node: Node | None, models: ModelSpecs) -> str | None:
        if node is None:
            return next(iter(models.places), None)
        if isinstance(node, ScalarNode) and isinstance(node.value, str):
            return models.find(node, self.problems)
        if not isinstance(node, UnreadableNode):
            self.problems.error("T001", node.place, f"`default` must be the name of a model, found {shown(node)}")
        return None

    def _plugin_files(self, node: Node | None) -> dict[Path, ScalarNode]:
        if node is None or isinstance(node, UnreadableNode):
            return {}
        if not isinstance(node, SequenceNode):
            message = f"`plugins` must be a list of files, as in [./my_rankers.py], found {shown(node)}"
            self.problems.error("T001", node.place, message)
            return {}
        files: dict[Path, ScalarNode] = {}
        for entry in node.items:
            if isinstance(entry, ScalarNode) and isinstance(entry.value, str):
                if written_out(entry, "a plugin file", self.problems):
                    self._add_plugin_file(entry, files)
            elif not isinstance(entry, UnreadableNode):
                message = f"a plugin file must be text, as in ./my_rankers.py, found {shown(entry)}"
                self.problems.error("T001", entry.place, message)
        return files

    def _add_plugin_file(self, entry: ScalarNode, files: dict[Path, ScalarNode]) -> None:
        try:
            files[self.calls.folder.plugin(entry.text)] = entry
        except FileRefusedError as error:
            message = f"the plugin file {quoted(entry.text)} cannot be used: {error}"
            self.problems.error("P002", entry.place, message)

    def _report_unused_files(self, files: Mapping[Path, ScalarNode], used: set[str]) -> None:
        for path, node in files.items():
            if path.stem not in used:
                message = f"nothing uses the plugin file {quoted(node.text)}: name it as {path.stem}, or remove it"
                self.problems.warn("P003", node.place, message)
