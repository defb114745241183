"""One-line drop-ins for people with a tuner of their own."""
