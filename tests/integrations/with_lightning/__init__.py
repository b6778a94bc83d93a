"""Lightning: the callback, held against plain loops."""
