"""One-line drop-ins for pipelines of one's own. Each imports its library only in its own file."""
