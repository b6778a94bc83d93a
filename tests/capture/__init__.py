"""Tests of what is read from optimizers, schedulers and gradients at each step."""
