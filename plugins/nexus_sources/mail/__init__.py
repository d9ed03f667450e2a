"""Mailboxes as a source: the messages of an IMAP server."""
