"""Spiking networks of other frameworks: a file -> layers of edges and neurons -> integers.

A framework is a module here and an entry of `registry`: it reads (`sw.reading.network.Foreign`) and
runs its own network. Quantisation (`integers`), comparison and report (`proof`) are the same for
all (`importing`).
"""
