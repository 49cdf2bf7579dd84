"""The one YAML file that says all of it, as pydantic models."""
