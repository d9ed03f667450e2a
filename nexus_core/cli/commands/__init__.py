"""The commands of `nexus`, one module each, imported when it is called."""
