"""Documents into items: reader processes, batches, links."""
