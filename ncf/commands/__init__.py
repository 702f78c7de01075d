"""What a person types and reads: options, terminal, progress."""
