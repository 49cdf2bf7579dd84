"""Chunks, markers and the pool that runs a function over them."""
