"""The tests of `lrtrack.integrations.ignite`."""
