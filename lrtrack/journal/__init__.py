"""The append-only local file of one run: written by the trainer, read by everyone else."""
