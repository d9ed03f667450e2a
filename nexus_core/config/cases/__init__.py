"""The language of tests: what stands under `tests` of a pipeline, or in the file beside it."""
