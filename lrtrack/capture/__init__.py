"""Everything that touches torch: hooks, gradients, losses, devices and schedulers.

The code runs on the training thread, between two lines of the user's loop. It only reads, never
waits for a device, and turns every failure of its own into one warning.
"""
