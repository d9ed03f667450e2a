"""Notifications of Postgres: which contexts have been written to, as soon as that is committed, by whichever server.

A trigger of the table of contexts sends them, in the transaction that writes; equal ones of one transaction arrive
once. They need a session of their own: through a pooler of transactions none arrives, which only a notification that
another connection has sent can show (what a session sends to itself comes with the end of its own statement).
"""

from __future__ import annotations

from typing import Any

import psycopg

from nexus_core.store.database.server_paths import secrets_of, without_password
from nexus_core.store.database.sql import SqlConnection
from nexus_core.store.postgres.errors import meaning

# By the table, so that stores in two schemas of one database do not hear each other.
_CHANNEL = "'nexus_contexts_' || CAST('contexts' AS regclass)::oid"

TRIGGERS = (
    """CREATE OR REPLACE FUNCTION announce_context() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_notify('nexus_contexts_' || TG_RELID, NEW.id::text);
            RETURN NULL;
        END $$""",
    """CREATE OR REPLACE TRIGGER announce_context AFTER UPDATE OF newest, removed, analyzer ON contexts
        FOR EACH ROW EXECUTE FUNCTION announce_context()""",
)
"""What sends the notifications."""


class PostgresListener:
    """A connection that only listens; see `ChangeListener`. For one thread at a time."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        """Connect, and listen; blocks. Raises StoreError."""
        self._name = without_password(url)
        self._secrets = secrets_of(url)
        try:
            self._connection = psycopg.connect(url, autocommit=True, **options)
            found = self._connection.execute(f"SELECT {_CHANNEL}").fetchone()
            self._connection.execute(f"LISTEN {found[0] if found else ''}".encode())
        except psycopg.Error as error:
            raise meaning(error, self._name, self._secrets) from None
        self._number = self._connection.fileno()  # which a lost connection does not tell

    def fileno(self) -> int:
        """Return the descriptor that can be read when there is something to take."""
        return self._number

    def take(self) -> frozenset[str]:
        """Return what has arrived, without waiting; raises StoreError where the connection is lost."""
        found = set()
        try:
            self._connection.pgconn.consume_input()
            while (arrived := self._connection.pgconn.notifies()) is not None:
                found.add(arrived.extra.decode())
        except psycopg.Error as error:
            raise meaning(error, self._name, self._secrets) from None
        return frozenset(found)

    def announce(self, connection: SqlConnection, text: str) -> None:
        """Send a text to all who listen, by another connection than this one."""
        connection.execute(f"SELECT pg_notify({_CHANNEL}, ?)", (text,)).fetchone()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
