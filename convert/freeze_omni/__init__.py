"""Freeze-Omni's published checkpoint as a bundle: its modules again, from the facts of the paper
(arXiv:2411.00774) and of the public code, and the streaming graphs made of them."""
