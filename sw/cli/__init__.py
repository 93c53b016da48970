"""The command `sterna`, the only room that prints or reads options.

`main` parses and reports; each other module has the commands of one subject; `tables` formats
their answers for people.
"""
