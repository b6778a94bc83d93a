"""The torch room: hooks, gradients, losses, devices, and schedulers put into words.

Everything here runs on the training thread, between two lines of the user's loop. It reads and
never writes; it never waits for a device; whatever goes wrong becomes one warning.
"""
