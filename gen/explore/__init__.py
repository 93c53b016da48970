"""What a network could be on a board: every layout that fits, as a point of several figures, and
which points nothing else is better than.
"""
