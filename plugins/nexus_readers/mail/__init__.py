"""Readers of mail: single messages, mailboxes read message by message, Outlook's files, and calendars."""
