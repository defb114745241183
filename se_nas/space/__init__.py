"""What may be chosen, at what exact cost."""
