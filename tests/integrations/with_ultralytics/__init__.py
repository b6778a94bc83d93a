"""The tests of `lrtrack.integrations.ultralytics`."""
