"""From a recipe to a network file.

Recipe -> network in torch -> train -> fold -> quantise -> integer network -> export, proven equal.
"""
