"""Addresses of resources: `nexus://CONTEXT/items/ID` and `nexus://CONTEXT/documents/SOURCE`, percent-encoded."""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote, unquote

from attrs import frozen

from nexus_core.server.errors import Failure

ResourceKind = Literal["items", "documents"]
SCHEME = "nexus"
TEMPLATES = {
    "items": (f"{SCHEME}://{{context}}/items/{{id}}", "An item of a context: one piece of text, by its id."),
    "documents": (f"{SCHEME}://{{context}}/documents/{{source}}", "A document: all items with this source, in order."),
}
"""The templates of RFC 6570, and what each of them is for."""
_LONGEST = 16_384


@frozen
class ResourceAddress:
    """What a URI names."""

    context: str
    kind: ResourceKind
    name: str
    """The id of an item, or the source of a document."""

    @property
    def uri(self) -> str:
        """The URI of it."""
        return f"{SCHEME}://{_quoted(self.context)}/{self.kind}/{_quoted(self.name)}"


def parse_uri(uri: str) -> ResourceAddress:
    """Return what a URI names; raises Failure where it is none of ours."""
    scheme, _, rest = uri[:_LONGEST].partition("://")
    context, _, path = rest.partition("/")
    kind, _, name = path.partition("/")
    try:
        address = ResourceAddress(unquote(context, errors="strict"), _KINDS[kind], unquote(name, errors="strict"))
    except (KeyError, UnicodeDecodeError) as error:
        raise _no_uri(uri) from error
    if scheme != SCHEME or not address.context or not address.name:
        raise _no_uri(uri)
    return address


_KINDS: dict[str, ResourceKind] = {"items": "items", "documents": "documents"}


def _no_uri(uri: str) -> Failure:
    shapes = " or ".join(template for template, _ in TEMPLATES.values())
    return Failure(400, "invalid_request", f"{uri[:200]!r} is no URI of this server: it is {shapes}, percent-encoded")


def _quoted(text: str) -> str:
    return quote(text, safe="")
