"""Documents: the reader of a file is found, and its blocks become text, sections and items; the one place for that."""
