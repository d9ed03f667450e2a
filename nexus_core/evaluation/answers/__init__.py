"""Measures what pipelines answer: against known answers, against what they cite, and where there is no answer."""
