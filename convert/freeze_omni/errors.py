"""What can be wrong with a checkpoint."""

from edge_omni.errors import EdgeOmniError


class CheckpointError(EdgeOmniError):
    """A checkpoint that is damaged, not whole, or of a kind that cannot be converted."""

    exit_code = 7
