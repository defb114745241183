"""Engines: where trials run. Each takes a `Search` and fills the run's ledger."""
