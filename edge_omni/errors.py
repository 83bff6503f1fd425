"""What can go wrong, told to the person at the keyboard: the cause, then the remedy.

Each class has its own exit code, so that scripts can tell the cases apart.
"""


class EdgeOmniError(Exception):
    """Base of every error that edge-omni raises on purpose."""

    exit_code = 1


class UsageError(EdgeOmniError):
    """An option or argument that cannot be right."""

    exit_code = 2


class AudioFileError(EdgeOmniError):
    """A sound file that cannot be read or written."""

    exit_code = 3


class DeviceError(EdgeOmniError):
    """A microphone or speaker that is missing, refused or gone."""

    exit_code = 4


class BundleError(EdgeOmniError):
    """A bundle that is missing, damaged or of another version."""

    exit_code = 5


class LLMError(EdgeOmniError):
    """An LLM file that is missing, damaged or does not fit the bundle."""

    exit_code = 6
