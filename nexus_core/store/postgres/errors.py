"""What errors of Postgres mean, as errors of the store. No message holds a password."""

from __future__ import annotations

import re

import psycopg
from psycopg import errors

from nexus_core.contract.errors import (
    NexusError,
    StoreBusyError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
    UsageError,
)
from nexus_core.store.database.server_paths import hidden
from nexus_core.store.database.sql import UnreadableValueError, WriteConflictError

_WAITED = (errors.LockNotAvailable, errors.QueryCanceled, errors.IdleInTransactionSessionTimeout)
_AGAIN = (errors.SerializationFailure, errors.DeadlockDetected)
_FULL = (errors.DiskFull, errors.OutOfMemory, errors.ConfigurationLimitExceeded)
_REFUSED = (errors.InvalidPassword, errors.InvalidAuthorizationSpecification, errors.InvalidCatalogName)
_REFUSES = re.compile(
    r"password authentication failed|no password supplied|(role|database) \".*\" does not exist|no pg_hba\.conf entry"
)
"""What a server says that lets nobody in: libpq gives no code with it."""
_NUL = (errors.UntranslatableCharacter, errors.CharacterNotInRepertoire)
_NUL_SAID = re.compile(r"\bNUL\b")
"""What psycopg says of the character; statements that errors quote hold NULL."""
_WHAT_TO_DO = "look whether it runs and can be reached from here; what was acknowledged is kept"


def is_lost(error: BaseException) -> bool:
    """Tell whether an error says that the connection is gone, or the server on its way down or up."""
    if isinstance(error, errors.AdminShutdown | errors.CrashShutdown | errors.CannotConnectNow):
        return True
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and error.sqlstate is None


def meaning(error: psycopg.Error, name: str, secrets: tuple[str, ...]) -> NexusError:
    """Return an error of Postgres as one of the store; `name` is how the store is called."""
    said = hidden(" ".join(str(error).split()), secrets)
    if isinstance(error, _AGAIN):
        return WriteConflictError(f"another server has changed {name} at the same time: try again")
    if isinstance(error, _WAITED):
        return StoreBusyError(f"{name} is kept by another server for too long ({said}): try again when it is done")
    if isinstance(error, _FULL):
        return StoreFullError(f"no space is left for {name} ({said}): this write changed nothing; free some")
    if isinstance(error, errors.ReadOnlySqlTransaction | errors.InsufficientPrivilege):
        return StoreError(f"{name} may not be changed or read by this role ({said}): grant it the rights of an owner")
    if isinstance(error, _NUL) or _NUL_SAID.search(said):
        return UsageError("a text holds a NUL character, which Postgres cannot keep: remove it")
    if isinstance(error, psycopg.DataError):
        return UnreadableValueError(f"a value in the store at {name} is not what a statement reads it as: {said}")
    if isinstance(error, errors.InvalidSchemaName):
        return StoreError(f"{name} has no such schema ({said}): create it (CREATE SCHEMA), or name another search_path")
    if isinstance(error, _REFUSED) or (is_lost(error) and _REFUSES.search(said)):
        return StoreUnavailableError(f"{name} refuses the connection ({said}): check user, password and database")
    if is_lost(error) or isinstance(error, errors.TooManyConnections):
        return StoreUnavailableError(f"{name} cannot be reached ({said}): {_WHAT_TO_DO}")
    return StoreError(f"the store at {name} failed: {said}")
