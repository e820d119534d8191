"""What a service can answer, from a short load test: the highest rate at a wished delay, and what a rate takes."""
