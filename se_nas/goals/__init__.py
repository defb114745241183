"""What a search optimises: objectives, how they are traded, and the hypervolume of a front."""
