"""Who is signed in, and what keys, groups and people have spent, at rest."""
