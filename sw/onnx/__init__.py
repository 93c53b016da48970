"""Networks in ONNX files: ReLU networks, which `sterna convert` takes, and quantised ones.

A graph becomes modules of torch (`sw.importers.trace`), and what reads those does the rest. The
package `onnx` (Apache-2.0) reads the files and runs the originals; it is imported in functions.
"""
