"""Other people's training frameworks: one file a framework, imported as `lrtrack.integrations.NAME`."""
