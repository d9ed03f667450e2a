"""The query service: pipelines over contexts, for programs and for people, over HTTP."""
