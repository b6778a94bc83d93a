"""Lightning's callback, compared with plain loops."""
