"""Places that runs are written to and read from; one file a vendor."""
