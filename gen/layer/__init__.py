"""The layer stage as it is planned: hardware of its own for a dense layer (`hw/layer`).

Network + options -> layout of each layer -> ROMs and component; its cycle law beside it.
"""
