"""Several servers of one store in a database."""
