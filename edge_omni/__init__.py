"""Talk with any GGUF LLM: speech in, speech out, on your own machine."""
