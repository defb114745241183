"""What may be chosen, and what each choice costs exactly."""
