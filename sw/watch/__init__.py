"""Modules that are run once, and watched: which of them gets what the one before it made.

So a class with a forward of its own, whatever it calls its modules in, is read like a Sequential.
What it computes between them without a module is not seen, but found out: the values differ.
`calls` watches, `returned` says what a forward gives back, `described` makes layers of steps and
neurons, `network` is the importer's base.
"""
