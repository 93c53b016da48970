"""Spiking networks of other frameworks: a file -> layers of edges and neurons -> integers.

A framework is a module here and an entry of `registry`: it reads (`reading.Foreign`) and runs its
own network. Comparison, quantisation and report are the same for all (`importing`).
"""
