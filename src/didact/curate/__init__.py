"""Clean, measure, filter, deduplicate, split and mix: one module per verb."""
