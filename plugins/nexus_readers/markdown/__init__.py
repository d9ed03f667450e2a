"""The reader of Markdown: the parts of a document, line by line or by a parser, and the blocks made of them."""
