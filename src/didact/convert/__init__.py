"""Records from one third-party format into another, or into their own again, and all that would be lost told."""
