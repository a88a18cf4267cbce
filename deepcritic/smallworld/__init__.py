"""A toy domain with tested premises: students with misconceptions, a teacher without, and a true label for every step."""
