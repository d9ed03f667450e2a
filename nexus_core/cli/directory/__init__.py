"""The directory of plugins: what there is, from whom, and what the contract suites say of it."""
