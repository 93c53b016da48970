"""The front door: what `import sterna` gives, on top of every other room but the command line.

Nothing here prints, reads arguments or ends the process; progress goes to a callback.
"""
