"""Bytes to raw rows: files, compression, containers; every bad row becomes a finding."""
