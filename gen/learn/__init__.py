"""The learning stage as it is planned (`hw/learn`).

Masters -> rows in two copies -> program: forward, readout, decision, backward, updates; a core of
that one stage; its cycle law.
"""
