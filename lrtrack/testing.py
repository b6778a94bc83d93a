"""The contract that trackers keep, as tests that third-party trackers run."""
