"""Learning on chip (SPIDE, arXiv 2302.00232): a program stage whose weights are read and written.

Master weights; error judge, dither and update engine, all beside the program stage's own parts.
"""
