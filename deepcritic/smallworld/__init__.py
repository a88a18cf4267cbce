"""A small world whose premises are tested: students with misconceptions, a teacher without, and the truth of every step."""
