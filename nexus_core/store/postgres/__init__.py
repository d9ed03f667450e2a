"""A store whose rows are in Postgres: the connection, its dialect, the tables, and what is kept on each server."""
