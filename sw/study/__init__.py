"""The studies behind docs/results.md.

Each module measures one table: it takes networks and data, and returns plain facts and markdown.
"""
