"""A small world for trying everything out: arithmetic whose every step's truth is known, and small models that live in it."""
