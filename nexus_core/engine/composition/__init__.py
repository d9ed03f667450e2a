"""How steps make a pipeline: one after the other, one of several ways, side by side, or by calling another pipeline."""
