"""PDF into blocks: pdfium reads the characters and where they stand, what is here finds lines, columns and tables."""
