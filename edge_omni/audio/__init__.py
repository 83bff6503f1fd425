"""The rim: sound files, sound devices, resampling, echo cancellation and voice activity."""
