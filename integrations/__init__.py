"""Other people's frameworks, one file each; imported as `lrtrack.integrations.NAME`."""
