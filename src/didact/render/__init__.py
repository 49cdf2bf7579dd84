"""Tokenizer, templates, the one renderer, token shards."""
