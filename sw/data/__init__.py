"""Data sets and shipped networks by name.

A file or a download -> pixels and labels as integers -> what a network makes of them.
"""
