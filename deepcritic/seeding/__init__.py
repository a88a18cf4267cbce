"""Seed critiques: the teacher's prompts, the choice among its replies, the choice of solutions, and their statistics."""
