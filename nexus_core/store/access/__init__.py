"""The keys of those who may ask a server, who is signed in, and what keys, groups and people have spent, at rest."""
