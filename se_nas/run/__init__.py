"""A search on disk: its directory, its trials, its settings, and the front that they make."""
