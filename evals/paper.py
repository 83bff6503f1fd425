"""What Freeze-Omni's authors report (arXiv:2411.00774), in percent, to stand beside our figures."""

QUESTION_SETS = ("Web Questions", "LLaMA Questions", "TriviaQA")
SPOKEN = {
    "SpeechGPT 7B": (6.5, 21.6, 14.8),
    "Spectron 1B": (6.1, 22.9, None),
    "Moshi 7B": (26.6, 62.3, 22.8),
    "GLM-4-Voice 9B": (32.2, 64.7, 39.1),
    "Freeze-Omni 7B": (44.73, 72.00, 53.88),
}
READ = {"Freeze-Omni 7B": (45.13, 77.67, 63.93)}
"""Qwen2-7B-Instruct, which Freeze-Omni has inside, with the questions as text."""

LIBRISPEECH = ("dev-clean", "dev-other", "test-clean", "test-other")
WORD_ERRORS = {
    "Freeze-Omni, whole recording": (3.29, 7.4, 3.24, 7.68),
    "Freeze-Omni, chunks of 160 ms": (4.16, 10.21, 4.05, 10.48),
    "Freeze-Omni, the same without dynamic chunks": (4.03, 9.45, 3.82, 9.79),
}

VOICE_TOP_K = 2
VOICE_CHARACTER_ERRORS = {
    "Freeze-Omni": 1.69,
    "Freeze-Omni without prefix": 2.75,
    "Freeze-Omni without prefix and pre-network": 4.64,
}
