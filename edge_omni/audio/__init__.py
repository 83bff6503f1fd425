"""The rim: sound files, sound devices, resampling and voice activity."""
