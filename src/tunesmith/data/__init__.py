"""Examples in, examples out; no torch here."""
