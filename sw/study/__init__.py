"""The studies behind docs/results.md."""
