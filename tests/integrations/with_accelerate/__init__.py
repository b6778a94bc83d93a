"""The tests of `lrtrack.integrations.accelerate`."""
