"""The window stage as it is planned (`hw/window`): a program whose scans add to a window at once.

Edges -> tables of windows and wide rows of weights -> operations; its cycle law.
"""
