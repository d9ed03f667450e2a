"""Office files: Word, PowerPoint, Excel, OpenDocument, EPUB, RTF."""
