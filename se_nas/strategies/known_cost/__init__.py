"""The strategy ``known-cost``: Bayesian search that models what must be measured and computes what is known."""
