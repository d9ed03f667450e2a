"""From YAML text to a checked, frozen specification, with every problem and its place."""
