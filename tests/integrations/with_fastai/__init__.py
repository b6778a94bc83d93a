"""The tests of `lrtrack.integrations.fastai`."""
