"""Security tests: hostile files, leaking secrets, and credentials sent to the wrong server."""
