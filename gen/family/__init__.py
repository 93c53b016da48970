"""Chip families: how each is synthesised, routed, clocked and filled. One file per family."""
