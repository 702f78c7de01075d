"""Which setting comes next, what came of it, and which one won."""
