"""The tests of `lrtrack.integrations.skorch`."""
