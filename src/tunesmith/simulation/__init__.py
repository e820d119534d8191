"""Active learning simulated: labels hidden, asked for by strategies, and what each round's model reaches."""
