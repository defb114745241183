"""What a user sees of a search: the live view, ``se-nas show``, the HTML report, and tables of spaces. Only the last need torch."""
