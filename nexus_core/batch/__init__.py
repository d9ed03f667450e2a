"""Batches: a pipeline over a file of questions, with a journal that loses nothing and pays for nothing twice."""
