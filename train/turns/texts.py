"""What people say to an assistant, while it speaks, and to others near it."""

from __future__ import annotations

import random
from collections.abc import Callable

from train.hearing.synthesis import sentences
from train.speech.texts import names

BACKCHANNELS = (
    "Uh-huh.", "Mm-hmm.", "Mhm.", "Hmm.", "Mm.", "Yeah.", "Yeah, yeah.", "Yep.", "Yes.", "Right.",
    "Okay.", "Ok.", "I see.", "Oh.", "Ah.", "Oh, okay.", "Sure.", "Really?", "Wow.", "Oh wow.",
    "Cool.", "Great.", "Nice.", "Good.", "True.", "Exactly.", "Of course.", "Got it.",
    "Ah, I see.", "Oh, really?", "Interesting.", "That's right.", "Makes sense.",
    "Uh-huh, uh-huh.", "Yeah, right.", "Ha ha.", "Alright.", "Oh, I see.", "Mm-hmm, yeah.",
    "Yeah, sure.", "Oh, nice.", "Ah, okay.", "Good point.", "Huh.", "Fine.", "Fair enough.",
    "Absolutely.", "Definitely.", "Oh my.", "No way.", "I know.",
)  # fmt: skip
"""Said by a listener who does not want the floor."""
INTERRUPTIONS = (
    "Stop.", "Stop it.", "Wait.", "Wait a second.", "Hold on.", "Hang on a minute.", "No, no.",
    "No, that's wrong.", "That's enough.", "Stop talking.", "Be quiet, please.", "Sorry, what?",
    "Say that again.", "Can you repeat that?", "Louder, please.", "Slower, please.", "Never mind.",
    "Excuse me.", "But why?", "Why?", "What do you mean?", "Actually, wait.", "Okay, stop.",
    "Thanks, that's all.", "Let me ask you something else.", "No, I meant something else.",
    "Shut up.", "Cancel that.", "Forget it.", "Go back.", "One moment.", "Pause.", "Enough.",
)  # fmt: skip
"""Said to take the floor, in few words."""
OPENERS = (
    "Okay, but", "Wait,", "No, I mean,", "Sorry,", "Actually,", "Yes, and", "Hold on,",
    "Right, but", "And", "But", "So,", "Hey,", "Um,", "Well,", "Yeah, but", "Okay, now",
    "Alright, and",
)  # fmt: skip
TO_OTHERS = (
    "Hey {name}, {other}",
    "{name}, {other}",
    "{name}! {other}",
    "Oh, hi {name}, {other}",
    "{other}, {name}?",
    "Hold on {name}, I'm talking to the computer.",
    "No, not you, I was talking to {name}.",
    "Sorry {name}, I'll be with you in a minute.",
    "Hi {name}, how was your day?",
    "{name}, your phone is ringing.",
    "Yes {name}, I'm coming.",
    "Hello? Yes, this is {name} speaking.",
    "{name} told me that on {day}.",
    "I'll call you back later, {name}.",
)
OTHERS = (
    "dinner is ready", "did you feed the dog", "where are my keys", "can you close the door",
    "are you coming with us", "have you seen my glasses", "the kids are in the garden",
    "we have to leave in ten minutes", "put your shoes on", "don't forget your lunch",
    "somebody is at the door", "could you pass me the salt", "I'm in the kitchen",
    "get off the sofa", "did you do your homework", "let's watch it later", "the bus leaves soon",
    "come here for a moment", "your mother called", "do you want some tea",
    "please turn the music down", "leave the cat alone", "I already paid the bill",
    "we are out of milk", "is the washing done", "he said he'd be late",
)  # fmt: skip
DAYS = ("Monday", "Tuesday", "Friday", "Sunday")
HESITATIONS = (
    "um", "uh", "er", "erm", "let me think", "you know", "like", "hmm", "what was it",
    "how do you say",
)  # fmt: skip
FIRST_NAMES = (
    "Anna", "Ben", "Carol", "David", "Emma", "Frank", "Grace", "Henry", "Isabel", "Jack", "Kate",
    "Liam", "Mary", "Nick", "Olivia", "Peter", "Rachel", "Sam", "Tina", "Victor", "honey", "Mom",
    "Dad", "guys", "darling", "kids", "buddy",
)  # fmt: skip
REQUESTS = (
    "I'd like {a}, please.", "Can I have {a} with {b}?", "Could I get {a} and {b}?",
    "Give me {a}.", "I'll have {a}, and then {b} as well.", "Make it {a} with {b}, please.",
    "Add {a} to the order.", "I want {a}, but without {b}.", "Order {a} for me, and {b}.",
    "Please bring me {a} and {b}.", "Hi, can you make me {a}?", "Two of {a}, thanks.",
)  # fmt: skip
GOODS = (
    "a bowl of soup", "a green salad", "some rice", "a slice of pie", "a cheese sandwich",
    "a burger", "an orange juice", "a pot of tea", "extra onions", "a large pizza", "black olives",
    "a little salt", "sour cream", "a glass of water", "two eggs", "brown bread", "some honey",
    "a fruit cup", "fresh tomatoes", "a side of fries", "hot sauce", "a vanilla cone",
    "the lemon cake",
)  # fmt: skip


def turns(count: int, seed: int) -> list[str]:
    """Whole turns to an assistant, the same for the same seed."""
    dice = random.Random(seed)
    found = sentences(count, seed)
    for i in range(count):
        if dice.random() < 0.25:
            found[i] = dice.choice(REQUESTS).format(a=dice.choice(GOODS), b=dice.choice(GOODS))
        if dice.random() < 0.12:
            found[i] = f"{dice.choice(OPENERS)} {found[i]}"
    return found


def fragment(text: str, dice: random.Random) -> str:
    """The beginning of a turn that is not over, often hesitating; said as it stands."""
    words = text.split()
    count = dice.randint(1, max(1, len(words) - 1))
    start = " ".join(words[:count]).rstrip(",.?!;:")
    if dice.random() < 0.55:
        return f"{start}, {dice.choice(HESITATIONS)},"
    return start + ("," if dice.random() < 0.5 else "")


def interruption(text: str, dice: random.Random) -> str:
    """Something said to take the floor; ``text`` is a whole turn."""
    kind = dice.random()
    if kind < 0.35:
        return dice.choice(INTERRUPTIONS)
    return f"{dice.choice(OPENERS)} {text}" if kind < 0.6 else text


def backchannel(text: str, dice: random.Random) -> str:
    """Something said by a listener, once, twice, or with something like it behind."""
    first = dice.choice(BACKCHANNELS)
    again = first if dice.random() < 0.4 else dice.choice(BACKCHANNELS)
    if dice.random() < 0.65 or len(f"{first}{again}") > 16:
        return first
    comma = "," if dice.random() < 0.7 else ""
    return f"{first[:-1]}{comma} {again[0].lower()}{again[1:]}"


def to_others(text: str, dice: random.Random) -> str:
    """Something said to somebody else in the room, or into a telephone."""
    _, places, _ = _names()
    name = dice.choice(FIRST_NAMES)
    if dice.random() < 0.15:
        return f"{name}, I'm going to {dice.choice(places)} on {dice.choice(DAYS)}."
    other = dice.choice(OTHERS)
    said = dice.choice(TO_OTHERS).format(name=name, other=other, day=dice.choice(DAYS))
    said = said[0].upper() + said[1:]
    return said if said.endswith((".", "?", "!")) else said + dice.choice(".?.")


SAID: dict[str, Callable[[str, random.Random], str]] = {
    "turn": lambda text, dice: text,
    "fragment": fragment,
    "interruption": interruption,
    "backchannel": backchannel,
    "to others": to_others,
}
"""What is said in each kind of scene, from a whole turn and dice."""

_known: list[tuple[list[str], list[str], list[str]]] = []


def _names() -> tuple[list[str], list[str], list[str]]:
    if not _known:
        _known.append(names())
    return _known[0]
