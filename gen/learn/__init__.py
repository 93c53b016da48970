"""The learning stage as it is planned: masters -> rows in both copies -> program; its cycle law."""
