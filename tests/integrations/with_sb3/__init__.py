"""The tests of `lrtrack.integrations.stable_baselines3`."""
