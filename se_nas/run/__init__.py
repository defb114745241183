"""What a search was asked, and what happened."""
