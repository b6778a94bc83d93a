"""The tests of `lrtrack.integrations.transformers`."""
