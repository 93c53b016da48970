"""The host library: a board, its simulation or the golden model behind one class."""
