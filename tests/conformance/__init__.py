"""Small real training loops that record their own expected values, compared with the trackers'."""
