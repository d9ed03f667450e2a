"""For authors of plugins: upstreams that fail on purpose, fakes and contract suites."""
