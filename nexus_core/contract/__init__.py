"""All that a plugin must know: values, protocols, events, errors, options and hooks."""
