"""A context at rest as a source, and the usage of models as a sink."""
