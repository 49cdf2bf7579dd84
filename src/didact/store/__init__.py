"""Versions on disk: manifest, shards, refs, card."""
