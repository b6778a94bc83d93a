"""The tests of `lrtrack.integrations.optuna`."""
