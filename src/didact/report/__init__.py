"""What a build or run did, as tables a person reads."""
