"""The SQLite database: connection, schema, snapshots."""
