"""What is read of any framework's network: the words for it, and what a framework must provide.

`network` has layers, neurons, findings and the class `Foreign`; `decay` rows of the contract for
real decays; `conventions` what a file leaves open.
"""
