"""The suite of stores in its parts: items, searches, records, runs, several openers, copies, and the seam itself."""
