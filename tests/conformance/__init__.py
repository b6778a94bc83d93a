"""Small real loops that know the truth, and what trackers say of them."""
