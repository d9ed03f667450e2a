"""Sources of the web beyond one page: whole sites, and feeds."""
