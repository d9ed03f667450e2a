"""Runs that outlive their requests: executed here, written to the store, read on by any server of it."""
