"""Metrics, tasks and baselines."""
