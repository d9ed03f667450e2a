"""Search by meaning: the vectors of a context, exactly compared where they are few, found by a graph where many."""
