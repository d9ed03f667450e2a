"""A connector that answers with sentences of the packed items, without a model."""
