"""Signature version 4 for requests to Bedrock, by botocore; credentials are fetched in a thread, never at load."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import BotoCoreError
from botocore.session import Session

from nexus_core import AuthError, NotConfiguredError

_FETCH_S = 30.0
"""How long the credentials may take: a file, a command, or the address of the machine's role."""


class RequestSigner:
    """Signs each request; looks for credentials at the first one, and again once the service has refused them."""

    def __init__(self, region: str, profile: str | None, model: str) -> None:
        self._region = region
        self._profile = profile
        self._model = model
        self._credentials: Credentials | None = None
        self._lock = asyncio.Lock()
        self._shown: ReadOnlyCredentials | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What errors may not show."""
        return tuple(filter(None, (self._shown or ())[:3]))

    async def headers(self, url: str, body: bytes) -> Mapping[str, str]:
        """Return the headers that sign a request; raises NotConfiguredError, or AuthError that was not sent."""
        found = await self._find()
        if found is None:
            raise NotConfiguredError(
                "no credentials of AWS: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a Bedrock API "
                "key (AWS_BEARER_TOKEN_BEDROCK, or the option api_key)",
                provider="bedrock",
                model=self._model,
            )
        self._shown = found
        request = AWSRequest("POST", url, data=body, headers={"Content-Type": "application/json"})
        SigV4Auth(found, "bedrock", self._region).add_auth(request)
        return {name: value for name, value in request.headers.items() if name.lower() != "content-type"}

    async def renew(self, headers: Mapping[str, str]) -> bool:
        """Look for credentials anew; tell whether they differ from those that were refused."""
        refused, self._credentials = self._shown, None
        found = await self._find()
        return found is not None and found != refused

    async def _find(self) -> ReadOnlyCredentials | None:
        async with self._lock:  # many requests at once look once
            try:
                async with asyncio.timeout(_FETCH_S):
                    return await asyncio.to_thread(self._fetch)
            except (BotoCoreError, TimeoutError, OSError) as error:
                said = f"the credentials of AWS cannot be read ({type(error).__name__})"
                raise AuthError(
                    said, provider="bedrock", model=self._model, code="credentials", request_sent=False
                ) from None

    def _fetch(self) -> ReadOnlyCredentials | None:
        """Return the credentials as they are now; those that expire are fetched again here."""
        if self._credentials is None:
            self._credentials = Session(profile=self._profile).get_credentials()
        return None if self._credentials is None else self._credentials.get_frozen_credentials()
