"""SE blocks and search spaces in your own NNI, Optuna or Ray code. Each library is imported only in its own file."""
