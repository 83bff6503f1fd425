"""How well edge-omni hears, answers and speaks, and how fast: beside text and beside peers."""
