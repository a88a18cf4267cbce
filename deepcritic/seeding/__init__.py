"""How seed critiques come about: what the teacher is asked, which reply is taken, which solutions are kept, and the account."""
