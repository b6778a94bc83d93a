"""Tests of the values that are read from optimizers, schedulers and gradients at each step."""
