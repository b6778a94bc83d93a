"""Strangers: hostile files, secrets that leak, credentials that go astray."""
