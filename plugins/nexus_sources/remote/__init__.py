"""Sources of what is elsewhere: object storage, git repositories, databases."""
