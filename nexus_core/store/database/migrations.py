"""The tables of a store: the statements that lead from each version to the next, in their order.

An item's row never changes: a change is a new row with a new key, and keys are never used twice. So a key says which
state of an item an index or a cache has seen, and what was added after it is what has a larger key.
"""

from __future__ import annotations

_FIRST = (
    """CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT""",
    """CREATE TABLE contexts (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        description TEXT NOT NULL,
        language TEXT NOT NULL,
        encoding TEXT NOT NULL,
        created REAL NOT NULL,
        changed REAL NOT NULL,
        items INTEGER NOT NULL DEFAULT 0,
        newest INTEGER NOT NULL DEFAULT 0
    ) STRICT""",
    """CREATE TABLE objects (key TEXT PRIMARY KEY, size INTEGER NOT NULL, added REAL NOT NULL) WITHOUT ROWID, STRICT""",
    """CREATE TABLE documents (
        id INTEGER PRIMARY KEY,
        context_id INTEGER NOT NULL REFERENCES contexts ON DELETE CASCADE,
        name TEXT NOT NULL,
        origin TEXT NOT NULL,
        stamp TEXT NOT NULL,
        digest TEXT NOT NULL,
        size INTEGER NOT NULL,
        original TEXT REFERENCES objects,
        added REAL NOT NULL,
        UNIQUE (context_id, name)
    ) STRICT""",
    """CREATE INDEX documents_of_originals ON documents (original) WHERE original IS NOT NULL""",
    """CREATE TABLE items (
        key INTEGER PRIMARY KEY,
        context_id INTEGER NOT NULL REFERENCES contexts ON DELETE CASCADE,
        document_id INTEGER REFERENCES documents ON DELETE CASCADE,
        id TEXT NOT NULL,
        title TEXT NOT NULL,
        text TEXT NOT NULL,
        kind TEXT NOT NULL,
        source TEXT NOT NULL,
        metadata TEXT NOT NULL,
        digest BLOB NOT NULL,
        UNIQUE (context_id, id)
    ) STRICT""",
    """CREATE INDEX items_of_documents ON items (document_id)""",
    """CREATE INDEX items_of_contexts ON items (context_id, key)""",
    """CREATE TABLE tags (
        item_key INTEGER NOT NULL REFERENCES items ON DELETE CASCADE,
        tag TEXT NOT NULL,
        PRIMARY KEY (item_key, tag)
    ) WITHOUT ROWID, STRICT""",
    """CREATE INDEX items_of_tags ON tags (tag, item_key)""",
    """CREATE TABLE links (
        item_key INTEGER NOT NULL REFERENCES items ON DELETE CASCADE,
        target TEXT NOT NULL,
        PRIMARY KEY (item_key, target)
    ) WITHOUT ROWID, STRICT""",
    """CREATE INDEX items_of_targets ON links (target, item_key)""",
    """CREATE TABLE passages (
        item_key INTEGER NOT NULL REFERENCES items ON DELETE CASCADE,
        encoding TEXT NOT NULL,
        size INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (item_key, encoding, size)
    ) WITHOUT ROWID, STRICT""",
    """CREATE TABLE vectors (
        item_key INTEGER NOT NULL REFERENCES items ON DELETE CASCADE,
        model TEXT NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (item_key, model)
    ) WITHOUT ROWID, STRICT""",
    """CREATE TABLE removals (
        context_id INTEGER NOT NULL REFERENCES contexts ON DELETE CASCADE,
        item_key INTEGER NOT NULL,
        PRIMARY KEY (context_id, item_key)
    ) WITHOUT ROWID, STRICT""",
    """CREATE TABLE indexes (
        context_id INTEGER PRIMARY KEY REFERENCES contexts ON DELETE CASCADE,
        generation TEXT NOT NULL,
        newest INTEGER NOT NULL
    ) STRICT""",
    """CREATE TABLE conversations (
        key INTEGER PRIMARY KEY,
        owner TEXT NOT NULL,
        id TEXT NOT NULL,
        created REAL NOT NULL,
        changed REAL NOT NULL,
        ttl_s REAL,
        expires REAL,
        turns INTEGER NOT NULL DEFAULT 0,
        UNIQUE (owner, id)
    ) STRICT""",
    """CREATE INDEX conversations_by_change ON conversations (owner, changed, key)""",
    """CREATE INDEX conversations_by_end ON conversations (expires) WHERE expires IS NOT NULL""",
    """CREATE TABLE turns (
        key INTEGER PRIMARY KEY,
        conversation_key INTEGER NOT NULL REFERENCES conversations ON DELETE CASCADE,
        number INTEGER NOT NULL,
        run_id TEXT NOT NULL,
        time REAL NOT NULL,
        query TEXT NOT NULL,
        answer TEXT NOT NULL,
        model TEXT NOT NULL,
        UNIQUE (conversation_key, number),
        UNIQUE (conversation_key, run_id)
    ) STRICT""",
    """CREATE TABLE usage (
        day TEXT NOT NULL,
        pipeline TEXT NOT NULL,
        model TEXT NOT NULL,
        model_id TEXT NOT NULL,
        outcome TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        requests INTEGER NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        reasoning_tokens INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL,
        unreported INTEGER NOT NULL,
        estimated INTEGER NOT NULL,
        cost REAL NOT NULL,
        unpriced INTEGER NOT NULL,
        duration_s REAL NOT NULL,
        PRIMARY KEY (day, pipeline, model, model_id, outcome)
    ) WITHOUT ROWID, STRICT""",
)

_KEYS = (
    """CREATE TABLE keys (
        id TEXT PRIMARY KEY,
        digest BLOB NOT NULL,
        owner TEXT NOT NULL,
        scopes TEXT NOT NULL,
        created REAL NOT NULL,
        expires REAL,
        revoked REAL,
        used REAL,
        requests_per_minute INTEGER,
        tokens_per_minute INTEGER,
        concurrency INTEGER NOT NULL
    ) STRICT""",
)

_SKIPPED = (
    """ALTER TABLE documents ADD COLUMN skipped TEXT NOT NULL DEFAULT ''""",
    # Of what was left out before, the reason is not known: it is read again when it is added again.
    """UPDATE documents SET stamp = '', digest = ''
        WHERE NOT EXISTS (SELECT 1 FROM items WHERE items.document_id = documents.id)""",
)

_ANSWERS = (
    """CREATE TABLE answers (
        key INTEGER PRIMARY KEY,
        owner TEXT NOT NULL,
        request TEXT NOT NULL,
        model TEXT NOT NULL,
        answer TEXT NOT NULL,
        digest BLOB NOT NULL,
        size INTEGER NOT NULL,
        made REAL NOT NULL,
        used REAL NOT NULL,
        expires REAL NOT NULL,
        UNIQUE (owner, request)
    ) STRICT""",
    """CREATE INDEX answers_by_use ON answers (model, used, key, size)""",
    """CREATE INDEX answers_by_end ON answers (expires)""",
    """ALTER TABLE usage ADD COLUMN from_cache INTEGER NOT NULL DEFAULT 0""",
)

_LEAN = (
    # What is derived goes, and is worked out anew by who writes next: see search/renewal.py.
    """DROP TABLE passages""",
    """CREATE TABLE figures (
        item_key INTEGER PRIMARY KEY REFERENCES items ON DELETE CASCADE,
        encoding TEXT NOT NULL,
        data BLOB NOT NULL
    ) STRICT""",
    """ALTER TABLE contexts ADD COLUMN analyzer INTEGER NOT NULL DEFAULT 0""",
    """ALTER TABLE documents ADD COLUMN reader TEXT NOT NULL DEFAULT ''""",
    """ALTER TABLE items ADD COLUMN language TEXT NOT NULL DEFAULT ''""",
    """ALTER TABLE items ADD COLUMN front INTEGER""",
    """CREATE TABLE fronts (
        id INTEGER PRIMARY KEY,
        document_id INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
        metadata TEXT NOT NULL
    ) STRICT""",
    """CREATE INDEX fronts_of_documents ON fronts (document_id)""",
    """CREATE TABLE context_languages (
        context_id INTEGER NOT NULL REFERENCES contexts ON DELETE CASCADE,
        language TEXT NOT NULL,
        PRIMARY KEY (context_id, language)
    ) WITHOUT ROWID, STRICT""",
    """CREATE TABLE aliases (
        context_id INTEGER NOT NULL REFERENCES contexts ON DELETE CASCADE,
        id TEXT NOT NULL,
        target TEXT NOT NULL,
        PRIMARY KEY (context_id, id)
    ) WITHOUT ROWID, STRICT""",
    """CREATE TABLE vector_models (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT""",
    # Vectors of an older version stay where they are until they are moved here.
    """CREATE TABLE vector_parts (
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        item_key INTEGER NOT NULL REFERENCES items ON DELETE CASCADE,
        model_id INTEGER NOT NULL REFERENCES vector_models,
        part INTEGER NOT NULL,
        data BLOB NOT NULL,
        UNIQUE (item_key, model_id, part)
    ) STRICT""",
)

_ORIGINS = (
    """CREATE TABLE origins (
        context_id INTEGER NOT NULL REFERENCES contexts ON DELETE CASCADE,
        origin TEXT NOT NULL,
        settings TEXT NOT NULL,
        read REAL NOT NULL,
        PRIMARY KEY (context_id, origin)
    ) WITHOUT ROWID, STRICT""",
)

_GRANTS = (
    # Who may see what: a grant is a set of groups; 0 is none, which whoever may see the context sees.
    """CREATE TABLE grants (id INTEGER PRIMARY KEY, readers TEXT NOT NULL UNIQUE) STRICT""",
    """ALTER TABLE contexts ADD COLUMN grant_id INTEGER NOT NULL DEFAULT 0""",
    """ALTER TABLE items ADD COLUMN grant_id INTEGER NOT NULL DEFAULT 0""",
    # So that who may see some looks at no row of the others.
    """CREATE INDEX items_of_grants ON items (context_id, grant_id, key)""",
    """CREATE TABLE context_grants (
        context_id INTEGER NOT NULL REFERENCES contexts ON DELETE CASCADE,
        grant_id INTEGER NOT NULL,
        PRIMARY KEY (context_id, grant_id)
    ) WITHOUT ROWID, STRICT""",
    """INSERT INTO context_grants (context_id, grant_id) SELECT id, 0 FROM contexts""",
    # Of a key: its groups, and what it is bound to, as JSON; NULL is to nothing.
    """ALTER TABLE keys ADD COLUMN groups TEXT NOT NULL DEFAULT '[]'""",
    """ALTER TABLE keys ADD COLUMN contexts TEXT""",
    """ALTER TABLE keys ADD COLUMN tags TEXT""",
)

_MEANING = (
    # Whose vectors searches by meaning compare; empty: a context is searched by words.
    """ALTER TABLE contexts ADD COLUMN embedder TEXT NOT NULL DEFAULT ''""",
    # The key of the item up to which all have vectors.
    """ALTER TABLE contexts ADD COLUMN embedded INTEGER NOT NULL DEFAULT 0""",
    """CREATE TABLE vector_indexes (
        context_id INTEGER NOT NULL REFERENCES contexts ON DELETE CASCADE,
        model_id INTEGER NOT NULL REFERENCES vector_models,
        generation TEXT NOT NULL,
        newest INTEGER NOT NULL,
        PRIMARY KEY (context_id, model_id)
    ) WITHOUT ROWID, STRICT""",
)

_SEEN = (
    # Who may see all of a document: what is told of it as a whole, such as its size, is for nobody else.
    """ALTER TABLE documents ADD COLUMN grant_id INTEGER NOT NULL DEFAULT 0""",
    """CREATE INDEX documents_of_grants ON documents (context_id, grant_id, name)""",
    # Nobody knows it of those that were read before, where any item is granted.
    """INSERT OR IGNORE INTO grants (readers) SELECT '["group:nobody"]' WHERE EXISTS
        (SELECT 1 FROM context_grants WHERE grant_id > 0)""",
    """UPDATE documents SET grant_id = (SELECT id FROM grants WHERE readers = '["group:nobody"]')
        WHERE context_id IN (SELECT context_id FROM context_grants WHERE grant_id > 0)
        AND EXISTS (SELECT 1 FROM items WHERE document_id = documents.id AND items.grant_id > 0)""",
    # What a turn was made of, as JSON; NULL of an older version, where nobody knows.
    """ALTER TABLE turns ADD COLUMN sources TEXT""",
)

_LANGUAGES = (
    # Which languages a context has still: a query is looked for in those, and in none whose items are gone.
    """CREATE INDEX items_of_languages ON items (context_id, language)""",
)

_REMOVALS = (
    # The number of the last removal, and that up to which an index has taken them: see items/removals.py.
    """ALTER TABLE contexts ADD COLUMN removed INTEGER NOT NULL DEFAULT 0""",
    """ALTER TABLE indexes ADD COLUMN removed INTEGER NOT NULL DEFAULT 0""",
    """CREATE TABLE removal_log (
        context_id INTEGER NOT NULL REFERENCES contexts ON DELETE CASCADE,
        number INTEGER NOT NULL,
        item_key INTEGER NOT NULL,
        PRIMARY KEY (context_id, number)
    ) WITHOUT ROWID, STRICT""",
    """INSERT INTO removal_log (context_id, number, item_key)
        SELECT context_id, row_number() OVER (PARTITION BY context_id ORDER BY item_key), item_key FROM removals""",
    """UPDATE contexts SET removed = (SELECT count(*) FROM removals WHERE context_id = contexts.id)""",
    """DELETE FROM removals""",
)

_SIGNED_IN = (
    # Who is signed in to the page; `state` is the sign-in that a session began with, which begins no other.
    """CREATE TABLE sessions (
        digest BLOB PRIMARY KEY,
        state BLOB NOT NULL UNIQUE,
        owner TEXT NOT NULL,
        name TEXT NOT NULL,
        groups TEXT NOT NULL,
        created REAL NOT NULL,
        expires REAL NOT NULL
    ) WITHOUT ROWID, STRICT""",
    """CREATE INDEX sessions_by_end ON sessions (expires)""",
    """CREATE INDEX sessions_of_owners ON sessions (owner, created)""",
    # What a key, an owner or a group has used on a day.
    """CREATE TABLE spend (
        day TEXT NOT NULL,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        requests INTEGER NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        unreported INTEGER NOT NULL,
        cost REAL NOT NULL,
        unpriced INTEGER NOT NULL,
        PRIMARY KEY (day, kind, name)
    ) WITHOUT ROWID, STRICT""",
)

_RUNS = (
    # Runs of servers, while they are under way and some minutes longer: see store/runs.py.
    """CREATE TABLE runs (
        id TEXT PRIMARY KEY,
        owner TEXT NOT NULL,
        idempotency TEXT,
        fingerprint TEXT NOT NULL,
        api TEXT NOT NULL,
        viewer TEXT,
        pipeline TEXT NOT NULL,
        context TEXT,
        model TEXT NOT NULL,
        model_id TEXT NOT NULL,
        background INTEGER NOT NULL,
        in_ledger INTEGER NOT NULL,
        created REAL NOT NULL,
        server TEXT NOT NULL,
        beat INTEGER NOT NULL DEFAULT 0,
        readers INTEGER NOT NULL DEFAULT 0,
        is_asked_to_end INTEGER NOT NULL DEFAULT 0,
        state TEXT NOT NULL,
        ended REAL,
        expires REAL,
        events INTEGER NOT NULL DEFAULT 0,
        is_sent INTEGER NOT NULL DEFAULT 0,
        prompt_tokens INTEGER,
        completion_tokens INTEGER,
        usage_source TEXT NOT NULL DEFAULT 'estimated',
        answer BLOB,
        sources TEXT NOT NULL,
        UNIQUE (owner, idempotency)
    ) STRICT""",
    """CREATE INDEX runs_under_way ON runs (server) WHERE state = 'running'""",
    """CREATE INDEX runs_by_end ON runs (expires) WHERE expires IS NOT NULL""",
    """CREATE TABLE run_events (
        run_id TEXT NOT NULL REFERENCES runs ON DELETE CASCADE,
        first_event INTEGER NOT NULL,
        last_event INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (run_id, first_event)
    ) WITHOUT ROWID, STRICT""",
)

_SERVERS = (
    # What is left of the limits of a key, and which server holds which part of them: see server/cluster.
    """CREATE TABLE key_budgets (
        name TEXT PRIMARY KEY,
        number INTEGER NOT NULL,
        state TEXT NOT NULL,
        changed REAL NOT NULL
    ) WITHOUT ROWID, STRICT""",
    # How many keys that are nobody's came from an address within a minute, by its hash.
    """CREATE TABLE wrong_keys (
        origin TEXT PRIMARY KEY,
        since REAL NOT NULL,
        count INTEGER NOT NULL
    ) WITHOUT ROWID, STRICT""",
    # What was chosen at one server for all of them.
    """CREATE TABLE choices (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID, STRICT""",
)

_SNAPSHOTS = (
    # What is kept of indexes beside the originals, for servers that have none. It refers to no context: what is kept
    # of one that is gone is to be deleted still.
    """CREATE TABLE index_snapshots (
        key TEXT PRIMARY KEY,
        context_id INTEGER NOT NULL,
        begun REAL NOT NULL,
        manifest TEXT NOT NULL
    ) WITHOUT ROWID, STRICT""",
)

_APPROVALS = (
    # Calls of tools that runs wait to be let make; NULL: nobody has decided.
    """CREATE TABLE approvals (
        run_id TEXT NOT NULL REFERENCES runs ON DELETE CASCADE,
        call_id TEXT NOT NULL,
        approved INTEGER,
        PRIMARY KEY (run_id, call_id)
    ) WITHOUT ROWID, STRICT""",
)

_TITLES = (
    # What its owner calls a conversation; NULL: by its first question.
    """ALTER TABLE conversations ADD COLUMN title TEXT""",
)

_RATINGS = (
    # What its owner thinks of an answer: `up` or `down`, and why.
    """ALTER TABLE turns ADD COLUMN rating TEXT""",
    """ALTER TABLE turns ADD COLUMN comment TEXT""",
)

_SHARING = (
    # The passages that an answer cites, as JSON; NULL of an older version.
    """ALTER TABLE turns ADD COLUMN passages TEXT""",
    # Links by which others read a conversation up to a turn, by the hash of what is secret of them.
    """CREATE TABLE share_links (
        conversation_key INTEGER PRIMARY KEY REFERENCES conversations ON DELETE CASCADE,
        digest BLOB NOT NULL UNIQUE,
        title TEXT NOT NULL,
        turns INTEGER NOT NULL,
        created REAL NOT NULL,
        expires REAL
    ) STRICT""",
)

_REMARKS = (
    # What is to be said of a document that was read, as JSON; nobody knows it of those that were read before.
    """ALTER TABLE documents ADD COLUMN problems TEXT NOT NULL DEFAULT '[]'""",
    """ALTER TABLE documents ADD COLUMN remarks TEXT NOT NULL DEFAULT '[]'""",
)

_VERSIONS = (
    # Turns that were asked again, each as it was until `replaced`; the version that is shown is in `turns`.
    """CREATE TABLE replaced_turns (
        conversation_key INTEGER NOT NULL REFERENCES conversations ON DELETE CASCADE,
        number INTEGER NOT NULL,
        version INTEGER NOT NULL,
        run_id TEXT NOT NULL,
        time REAL NOT NULL,
        replaced REAL NOT NULL,
        query TEXT NOT NULL,
        answer TEXT NOT NULL,
        model TEXT NOT NULL,
        sources TEXT,
        rating TEXT,
        comment TEXT,
        passages TEXT,
        PRIMARY KEY (conversation_key, number, version),
        UNIQUE (conversation_key, run_id)
    ) WITHOUT ROWID, STRICT""",
)

_BRANCHES = (
    # The run after whose turn one that is shown no more was asked; NULL of the first.
    """ALTER TABLE replaced_turns ADD COLUMN follows TEXT""",
    """UPDATE replaced_turns SET follows = (SELECT run_id FROM turns WHERE
        turns.conversation_key = replaced_turns.conversation_key AND turns.number = replaced_turns.number - 1)""",
    # Which version of its turn is shown; NULL: the newest.
    """ALTER TABLE turns ADD COLUMN version INTEGER""",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    _FIRST, _KEYS, _SKIPPED, _ANSWERS, _LEAN, _ORIGINS, _GRANTS, _MEANING, _SEEN, _LANGUAGES, _REMOVALS, _SIGNED_IN,
    _RUNS, _SERVERS, _SNAPSHOTS, _APPROVALS, _TITLES, _RATINGS, _SHARING, _REMARKS,
    _VERSIONS, _BRANCHES,
)  # fmt: skip
"""What leads from each version to the next; the version of a file is the number of those it has seen."""
