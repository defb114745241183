"""What is better: objectives, how they are traded, how much a front is worth."""
