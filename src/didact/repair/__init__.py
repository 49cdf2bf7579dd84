"""Repair: copies files with what can be corrected safely, and writes down every change."""
