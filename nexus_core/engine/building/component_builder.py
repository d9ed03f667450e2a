"""Component builder: components of a checked file, with what is nested in them; what fails is noted at its place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from nexus_core.config.components import PluginCatalog
from nexus_core.config.spec import ComponentSpec, ModelReference, PipelineReference, RecordSpec
from nexus_core.config.steps.called_pipelines import CheckedPipeline
from nexus_core.config.yaml.problems import SourceLocation
from nexus_core.contract.components import Kind, injected_fields
from nexus_core.contract.errors import PluginError, Problem, TemplateError, describe_error
from nexus_core.contract.models import ModelInfo
from nexus_core.contract.optional_protocols import CheckedComponent
from nexus_core.contract.protocols import Connector
from nexus_core.contract.run_context import CallablePipeline
from nexus_core.engine.calls.caller import Caller
from nexus_core.engine.component_models import component_model
from nexus_core.engine.composition.called_pipelines import callable_pipeline
from nexus_core.engine.interceptors import Interceptor, intercepted
from nexus_core.engine.lifecycle import ComponentLifecycle
from nexus_core.engine.models import Model, ModelRegistry, price_lookup
from nexus_core.engine.plugin_guard import is_own, place_of

_BUILD_FAILED = "P001"


@frozen(eq=False, repr=False)
class ModelGiver:
    """Hands out connectors to components, attended by the engine."""

    registry: ModelRegistry
    attempts: Caller
    resources: ComponentLifecycle

    def connector(self, place: str, connector: Connector) -> Connector:
        """Return what is given in place of a connector; it has the policies that a model has by default."""
        info = connector.model_info
        model = Model(name=place, connector=connector, info=info, lookup=price_lookup(connector, info))
        self.registry.add_given(model)
        return component_model((model,), self.attempts, self.resources)

    def model(self, name: str) -> Connector:
        """Return what is given for a model of the pipeline, with all its policies."""
        return component_model(self.registry.chain(name), self.attempts, self.resources)


@frozen(kw_only=True, eq=False, repr=False)
class ComponentBuilder:
    """Builds the components of one pipeline and collects what goes wrong."""

    folder: Path
    catalogue: PluginCatalog
    called: Mapping[str, CheckedPipeline]
    resources: ComponentLifecycle
    interceptor: Interceptor | None
    problems: list[Problem] = field(factory=list)

    def build(self, kind: Kind, spec: ComponentSpec, place: str = "", give: ModelGiver | None = None) -> Any:
        """Build a component, the nested ones first; a failure is noted as a problem at its place.

        With `give`, connectors among its options are attended by the engine.
        """
        try:
            cls = self.catalogue.component(kind, spec.use)
            options = {name: self._value(value, f"{place}.{name}", give) for name, value in spec.options.items()}
            built = cls(**options)
            self._inject(cls, built)
            if isinstance(built, CheckedComponent):
                built.check_built()
        except PluginError as error:
            return self.note_problem(spec.place, str(error))
        except (TypeError, ValueError, TemplateError) as error:
            return self.note_problem(spec.place, f"{kind.word} {spec.use!r} cannot be built: {error}")
        except BaseException as error:  # foreign code; its failure is a problem of this file
            if not is_own(error):
                raise
            said = describe_error(error) + place_of(error)
            return self.note_problem(spec.place, f"{kind.word} {spec.use!r} failed: {said}")
        return built

    def _inject(self, cls: type, built: Any) -> None:
        """Fill in the fields that a component declares as injected; a sink gets its pipeline later."""
        declared = injected_fields(cls)
        if "base_dir" in declared:
            built.base_dir = str(self.folder)
        if "shared" in declared:
            built.shared = self.resources.shared

    def _connector(self, spec: ComponentSpec, place: str, give: ModelGiver | None) -> Any:
        """Build a connector that is an option. One inside a connector is a part of what that one does in an attempt."""
        built = self.build(Kind.CONNECTOR, spec)
        if give is None or built is None:
            return built
        return None if self.model_info(spec, built, {}) is None else give.connector(place, self.attend(place, built))

    def note_problem(self, place: SourceLocation, message: str) -> None:
        """Note what cannot be built."""
        self.problems.append(Problem(_BUILD_FAILED, message, place.file, place.line, place.column))

    def _value(self, value: Any, place: str, give: ModelGiver | None) -> Any:
        match value:
            case ComponentSpec(kind=Kind.CONNECTOR):
                return self._connector(value, place, give)
            case ComponentSpec():
                return self.build(value.kind, value, place, give)
            case PipelineReference():
                return self.callable_pipeline(value)
            case ModelReference(name=name):
                return None if give is None else give.model(name)
            case RecordSpec(cls=cls, fields=fields):
                return cls(**{name: self._value(part, f"{place}.{name}", give) for name, part in fields.items()})
            case tuple():
                return tuple(self._value(part, f"{place}[{index}]", give) for index, part in enumerate(value))
            case dict():
                return {key: self._value(part, f"{place}.{key}", give) for key, part in value.items()}
        return value

    def attend(self, name: str, connector: Connector) -> Connector:
        """Return a connector whose requests go through the interceptor, where there is one."""
        return connector if self.interceptor is None else intercepted(name, connector, self.interceptor)

    def model_info(self, spec: ComponentSpec, connector: Connector, figures: Mapping[str, Any]) -> ModelInfo | None:
        """Return what a connector tells of its model, with the pipeline's figures over it."""
        try:
            info: Any = connector.model_info
        except BaseException as error:  # foreign code, as above
            if not is_own(error):
                raise
            told = f"failed at its model_info: {describe_error(error)}"
        else:
            if isinstance(info, ModelInfo):
                return evolve(info, **figures)
            told = f"has a {type(info).__name__} for its model_info, and no ModelInfo"
        self.note_problem(spec.place, f"connector {spec.use!r} {told}")
        return None

    def callable_pipeline(self, reference: PipelineReference) -> CallablePipeline:
        """Return what can be called of another pipeline."""
        spec = self.called[reference.path].spec
        assert spec is not None, "a pipeline with problems is not built"
        return callable_pipeline(reference.path, spec.name, spec.description, spec.inputs)
