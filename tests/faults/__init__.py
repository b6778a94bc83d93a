"""Fault tests: real trainings, servers and disks, with everything that can go wrong around them."""
