"""Networks in NIR files: a file -> a graph in order -> layers; the graph run as it is written.

`network` is the importer that `sw.frameworks.registry` has; `export` goes the other way.
"""
