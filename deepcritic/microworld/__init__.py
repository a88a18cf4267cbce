"""A toy domain for quick experiments: arithmetic in which every step's label is known, and small models trained on it."""
