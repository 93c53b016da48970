"""Tops: what goes around a core.

A board (clock, link, flash with weights, images on the chip), or AXI4-Stream ports for other
designs.
"""
