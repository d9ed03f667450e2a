"""Retry, wait, fallback, breaker, limits and the ledger: nothing else in the project tries anything twice."""
