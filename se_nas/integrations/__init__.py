"""Drop-ins for pipelines of one's own: a line or two. Each imports its library only in its own file."""
