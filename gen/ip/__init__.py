"""A core as a package for other people's designs (docs/ip.md)."""
