"""The component `bedrock`: its options and what is known of its models. Imports nothing heavy until it is opened."""

from __future__ import annotations

import os
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from attrs import evolve

from nexus_core import ImageTokens, ModelInfo, NotConfiguredError, component, hookimpl, option
from nexus_core.toolkit import ServiceAddress, ServiceConnector

if TYPE_CHECKING:
    from nexus_core.toolkit import RequestAuthorizer

_REGIONS = re.compile(r"^(us|us-gov|eu|apac|jp|au|ca|in|global)\.")
"""What an inference profile puts before the id of a model."""
_ARN = re.compile(r"arn:[\w-]+:bedrock:([a-z0-9-]+):")
_CLAUDE_IMAGES = ImageTokens(formula="area", at_most=1600, longest=1568)
_ANY_IMAGE = ImageTokens(formula="fixed", base=4096, at_most=4096)
"""An upper bound where the maker of the model publishes no formula: 4,096 tokens."""
_FILE_AT_MOST = 300_000


@component
class Bedrock(ServiceConnector):
    """Sends prompts to models on Amazon Bedrock by the Converse API.

    Exactly one request per call. Signs with the credentials of AWS (the extra `bedrock`), or sends a Bedrock API key.
    """

    name: ClassVar[str] = "bedrock"

    ADDRESS: ClassVar[ServiceAddress] = ServiceAddress(
        provider="bedrock",
        url="https://bedrock-runtime.us-east-1.amazonaws.com",
        domain="amazonaws.com",
        url_variable="AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
        key_variables=("AWS_BEARER_TOKEN_BEDROCK",),
    )
    WIRE: ClassVar[str] = "nexus_bedrock.wire"
    SMALL_MODEL: ClassVar[str] = "amazon.nova-lite-v1:0"
    MODELS: ClassVar[Path] = Path(__file__).with_name("models.json")
    NEEDS_KEY: ClassVar[bool] = False

    region: str | None = option(
        None, help="The region of AWS; by default that of an ARN, else AWS_REGION, AWS_DEFAULT_REGION, us-east-1.",
        pattern=r"[a-z0-9-]+",
    )  # fmt: skip
    profile: str | None = option(None, help="The profile whose credentials sign; by default as AWS's own tools choose.")
    prompt_cache: bool = option(False, help="Put a cache point behind the system text, for models that keep prompts.")

    def describe(self) -> ModelInfo:
        """Return what the table of models says, or the declared defaults."""
        images = _CLAUDE_IMAGES if self.table_id.startswith("anthropic.") else _ANY_IMAGE
        return self.row.info(
            self.model, "bedrock", joins_roles=True, image_tokens=images, file_tokens_at_most=_FILE_AT_MOST
        )

    @property
    def table_id(self) -> str:
        """The id of the model without what a profile or an ARN says before it."""
        return _REGIONS.sub("", self.model.rpartition("/")[2])

    @property
    def writes_cache(self) -> bool:
        """Whether the service is asked to keep the beginning of prompts."""
        return self.prompt_cache

    @property
    def region_name(self) -> str:
        """The region that is asked: that of the option, of an ARN, of the environment, else us-east-1."""
        named = _ARN.match(self.model)
        own = self.region or (named[1] if named else "")
        return own or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"

    @property
    def address(self) -> ServiceAddress:
        """The service in its region."""
        return evolve(self.ADDRESS, url=f"https://bedrock-runtime.{self.region_name}.amazonaws.com")

    def make_authorizer(self) -> RequestAuthorizer | None:
        """Return what signs each request, `None` where a Bedrock API key goes with it."""
        if self._has_key_source:
            return ServiceConnector.make_authorizer(self)
        if self.address.resolve_key(self.api_key, self.answer_id, os.environ):
            return None
        if find_spec("botocore") is None:
            raise NotConfiguredError(
                "no API key for Bedrock (set AWS_BEARER_TOKEN_BEDROCK, or run nexus secrets set bedrock), and to sign "
                "with the credentials of AWS botocore is needed: pip install 'contextnexus[bedrock]'",
                provider="bedrock",
                model=self.model,
            )
        signing = import_module("nexus_bedrock.signing")
        return cast("RequestAuthorizer", signing.RequestSigner(self.region_name, self.profile, self.model))


@hookimpl
def nexus_connectors() -> list[type]:
    """Declare the connector."""
    return [Bedrock]
