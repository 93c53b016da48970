"""What a command owes the machine it runs on: folders that one process fills, an environment that
is built, children that end with their parent. And what it owes who waits: progress, in lines or,
on a terminal, as bars.
"""
