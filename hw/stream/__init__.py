"""Streams: payload types, and what passes payloads on unchanged.

A word arrives, waits (skid), leaves in parts (serializer), or in another order (transposer).
"""
