"""Text: sentences, passages, stems, BM25."""
