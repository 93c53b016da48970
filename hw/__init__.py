"""The contract (spec, image) and the hardware components, in the order data flows."""
