"""Writes a network as source: it is run once, and what each of its modules computes becomes a class.

In the order of the work: `recording` (the calls of a forward pass), `bodies` (evaluation and training in one),
`classes` (the tree of modules, loops), `families` (modules that compute alike), `definitions` (the arguments in which
they differ), `construction` and `forward` (text), `network` (the whole file).
"""
