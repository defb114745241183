"""What a person sees of a search: the live view, ``se-nas show`` and the HTML report. Nothing here needs torch."""
