"""One adapter per third-party format, registered by name."""
