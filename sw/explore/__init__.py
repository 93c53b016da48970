"""Which network on which layout: planned by the thousand, trained by the dozen, routed by the few;
each step is a filter for the next one.
"""
