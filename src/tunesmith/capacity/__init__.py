"""What a service can answer, from a short load test: the highest rate at a wished 99th percentile, and what a rate takes."""
