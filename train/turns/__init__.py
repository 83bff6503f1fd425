"""Whose turn it is: scenes, what is heard in them, and the state head that learns from it."""
