"""The source `sql`: rows of a query, each an item whose text a template makes of its columns."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from typing import Any, ClassVar, NoReturn
from urllib.parse import quote, urlsplit, urlunsplit

from attrs import field, frozen

from nexus_core import (
    DocumentMark,
    DocumentRead,
    Item,
    NexusError,
    RunContext,
    Secret,
    SourceError,
    component,
    hookimpl,
    injected,
    option,
    state,
)
from nexus_core.toolkit import TextTemplate, require_extra
from nexus_sources.remote.gathering import GatheredDocuments

READ_ONLY = {
    "sqlite": "PRAGMA query_only = ON",
    "postgresql": "SET TRANSACTION READ ONLY",
    "mysql": "SET SESSION TRANSACTION READ ONLY",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
    "oracle": "SET TRANSACTION READ ONLY",
}
"""What makes a transaction one that changes nothing; that of other databases is only rolled back."""
_AT_ONCE = 500
_MOST_PROBLEMS = 100
_PLAIN = (str, int, float, bool)


@component
class Sql:
    """Reads the rows of a query, through SQLAlchemy: one item for each, in a transaction that changes nothing."""

    name: ClassVar[str] = "sql"

    url: str = option(help="The database as SQLAlchemy writes it: `postgresql+psycopg://user@host/name`.")
    query: str = option(help="What is asked: one statement.")
    text: str = option(help="A template of an item's text with the columns: `{{ title }}: {{ body }}`; or a column.")
    id: str = option("id", help="The column that tells rows apart, and stays the same for a row.")
    title: str = option("", help="The same of its title.")
    metadata: tuple[str, ...] = option((), help="Columns that go into the metadata.")
    prefix: str = option("", help="What stands before the ids of items, such as `tickets/`.")
    password: Secret | None = option(None, help="The password; it may stand in `url`, too.")
    most: int = option(1_000_000, help="So many rows are read at most.", ge=1)
    refresh_s: float = option(
        60.0, help="How long rows that were read hold, in seconds, until the next run asks again.", ge=0
    )
    base_dir: str = injected(default=".")
    _gathered: Any = state()

    def __attrs_post_init__(self) -> None:
        """Check address and templates; raises ValueError."""
        if "://" not in self.url:
            raise ValueError("the address must be one of SQLAlchemy, such as sqlite:///tickets.db")
        for name in ("text", "title"):
            try:
                RowText.of(getattr(self, name), name)
            except NexusError as error:
                raise ValueError(str(error)) from error

    @classmethod
    def address_options(cls, address: str) -> Mapping[str, Any]:
        """Return the options that an address stands for; `query` and `text` are given beside it."""
        name = urlsplit(address).path.rstrip("/").rpartition("/")[2].partition(".")[0]
        return {"url": address, "prefix": f"{name or 'rows'}/"}

    @property
    def origin(self) -> str:
        """What the rows are known by as a whole, without the password."""
        return f"{self._shown}#{self.prefix.rstrip('/')}"

    @property
    def within(self) -> str:
        """What the name of the one document begins with."""
        return self.prefix

    @property
    def problems(self) -> tuple[str, ...]:
        """What the last gather found wrong, one text for each problem."""
        return self._gathered.problems if self._gathered is not None else ()

    async def gather(self, query: str, run: RunContext) -> Sequence[Item]:
        """Return the items of all rows; the same tuple while none has changed."""
        if self._gathered is None:
            self._gathered = GatheredDocuments("sql", self, self.refresh_s, 0.0)
        items: tuple[Item, ...] = await self._gathered.items()
        return items

    def documents(self) -> Iterable[DocumentMark]:
        """Return the rows as one document: of those that are as they were, the items are left alone."""
        return [DocumentMark(name=f"{self.prefix}rows", place=self._shown)]

    def read(self, mark: DocumentMark, known: str = "") -> DocumentRead:
        """Return the items of the rows, read as they are taken."""
        problems: list[str] = []
        return DocumentRead(items=self._items(problems), problems=problems)

    def _items(self, problems: list[str]) -> Iterator[Item]:
        seen: set[str] = set()
        text, title = RowText.of(self.text, "text"), RowText.of(self.title, "title")
        for number, row in enumerate(self._rows(), 1):
            if number > self.most:
                problems.append(f"there are more rows than most: {self.most:,}; the rest is left out")
                return
            if number == 1:
                self._check_columns(row, text, title)
            id = row.get(self.id)
            try:
                body = text.filled(row)
                name = f"{self.prefix}{id}"
                if id in (None, "") or name in seen:
                    raise SourceError(f"has no {self.id}" if id in (None, "") else f"has the {self.id} of another row")
                if not body.strip():
                    raise SourceError("has no text")
            except NexusError as error:
                if len(problems) < _MOST_PROBLEMS:
                    problems.append(f"row {number} ({id}) {error}; left out")
                continue
            seen.add(name)
            yield Item(
                id=name,
                text=body,
                title=title.filled(row),
                source=name,
                metadata={column: row[column] for column in self.metadata if row[column] is not None},
            )

    def _check_columns(self, row: Mapping[str, Any], text: RowText, title: RowText) -> None:
        asked = (self.id, *self.metadata, *text.columns, *title.columns)
        missing = [column for column in dict.fromkeys(asked) if column not in row]
        if missing:
            raise SourceError(f"sql: the query gives no column {missing[0]!r}, but {', '.join(row)}")

    def _rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows as plain values; raises SourceError, which shows no password."""
        alchemy = require_extra("sqlalchemy", "sql", "databases")
        engine = None
        try:
            engine = alchemy.create_engine(self._url(alchemy), poolclass=alchemy.pool.NullPool)
            with engine.connect() as connection:
                statement = READ_ONLY.get(engine.dialect.name)
                if statement is not None:
                    connection.exec_driver_sql(statement)
                streaming = {"stream_results": True, "yield_per": _AT_ONCE}
                result = connection.exec_driver_sql(self.query, execution_options=streaming)
                if not result.returns_rows:
                    raise SourceError("sql: the query gives no rows: it must be a SELECT")
                for row in result.mappings():
                    yield {str(key): _plain(value) for key, value in row.items()}
                connection.rollback()
        except alchemy.exc.SQLAlchemyError as error:
            said = str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__]
            raise SourceError(f"sql: {self._shown} cannot be read ({self._masked(said[0])})") from error
        except ImportError as error:
            raise SourceError(f"sql: {self._shown} needs a driver that is not installed ({error})") from error
        finally:
            if engine is not None:
                engine.dispose()

    def _url(self, alchemy: Any) -> Any:
        url = alchemy.engine.make_url(self.url)
        if url.drivername == "postgres":
            url = url.set(drivername="postgresql")
        if self.password:
            url = url.set(password=self.password.reveal())
        if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
            path = os.path.abspath(os.path.join(self.base_dir, url.database))
            if not os.path.exists(path):  # it would be made
                raise SourceError(f"sql: there is no file {path}")
            url = url.set(database=path)
        return url

    @property
    def _shown(self) -> str:
        parts = urlsplit(self.url)
        user = f"{quote(parts.username)}@" if parts.username else ""
        return urlunsplit((parts.scheme, user + parts.netloc.rpartition("@")[2], parts.path, "", ""))

    def _masked(self, said: str) -> str:
        """Return what a driver has said without the password."""
        for secret in (urlsplit(self.url).password, self.password.reveal() if self.password else ""):
            said = said.replace(secret, "***") if secret else said
        return said

    def __reduce__(self) -> NoReturn:
        raise TypeError("a database is read in this process, which alone has the password")


@frozen
class RowText:
    """A text that is made of a row: a template, or one column."""

    columns: frozenset[str]
    template: TextTemplate | None = field(default=None, repr=False)

    @classmethod
    def of(cls, text: str, name: str) -> RowText:
        """Return the text that an option declares; raises TemplateError."""
        if "{{" in text or "{%" in text:
            template = TextTemplate.parse(text, f"`{name}` of the source sql")
            return cls(template.variables, template)
        return cls(frozenset({text} if text else ()))

    def filled(self, row: Mapping[str, Any]) -> str:
        """Return the text of a row; an empty column is an empty text."""
        said = {column: "" if value is None else value for column, value in row.items()}
        if self.template is None:
            return "".join(str(said[column]) for column in self.columns)
        return "\n\n".join(message.text for message in self.template.render(said))


def _plain(value: Any) -> Any:
    """Return a value of a database as JSON has it; what is no text is None."""
    if value is None or isinstance(value, _PLAIN):
        return value
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return None
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value)


@hookimpl
def nexus_sources() -> Iterable[type]:
    """Yield the source `sql`."""
    return [Sql]
