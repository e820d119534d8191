"""Pre-trained models: where they are, their bodies, and a body with a head."""
