"""The tests of `lrtrack.integrations.ray`."""
