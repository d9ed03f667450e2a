"""Measures pipelines on collections: how well they rank, what reaches the prompt, and how long that takes."""
