"""A search as it is stored: trials, ledger, front, settings, and the directory that holds them."""
