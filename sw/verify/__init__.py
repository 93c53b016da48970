"""Boards and bitstreams held against the golden model, and damaged on purpose."""
