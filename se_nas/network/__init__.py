"""What a network computes, what it costs, and where SE blocks can go in it."""
