"""Making the speaking half: speech to learn from, the codec, the speech decoder."""
