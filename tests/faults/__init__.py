"""Everything that can go wrong around a training, done to real processes and real servers."""
