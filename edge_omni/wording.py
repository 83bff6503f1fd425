"""Words for what is written short: letters, abbreviations, units, money, symbols, dates."""

from __future__ import annotations

LETTERS = dict(
    zip(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (
            "ay bee see dee ee eff jee aitch eye jay kay ell em en oh pee cue ar ess tee you vee "
            "double-you ex why zee"
        ).split(),
        strict=True,
    )
)
ABBREVIATIONS = {
    "dr": "doctor",
    "mr": "mister",
    "mrs": "missus",
    "ms": "miz",
    "st": "saint",
    "prof": "professor",
    "vs": "versus",
    "etc": "et cetera",
    "approx": "approximately",
    "e.g": "for example",
    "i.e": "that is",
    "a.m": "ay em",
    "p.m": "pee em",
    "jr": "junior",
    "sr": "senior",
    "inc": "incorporated",
    "ltd": "limited",
    "ave": "avenue",
    "mt": "mount",
    "gen": "general",
    "capt": "captain",
    "lt": "lieutenant",
    "sgt": "sergeant",
    "rev": "reverend",
    "gov": "governor",
    "sen": "senator",
}
# Longer ones first: the first that fits is taken.
UNITS = {
    "km/h": "kilometers per hour",
    "m/s": "meters per second",
    "km": "kilometers",
    "cm": "centimeters",
    "mm": "millimeters",
    "kg": "kilograms",
    "mg": "milligrams",
    "ml": "milliliters",
    "mph": "miles per hour",
    "ft": "feet",
    "lb": "pounds",
    "lbs": "pounds",
    "oz": "ounces",
    "GHz": "gigahertz",
    "MHz": "megahertz",
    "kHz": "kilohertz",
    "Hz": "hertz",
    "GB": "gigabytes",
    "MB": "megabytes",
    "mi": "miles",
    "m": "meters",
    "g": "grams",
}
MONEY = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent")}
SYMBOLS = {
    "&": " and ",
    "+": " plus ",
    "=": " equals ",
    "@": " at ",
    "%": " percent",
    "°": " degrees ",
    "×": " times ",  # noqa: RUF001 (the sign of multiplication)
    "÷": " divided by ",
    "<": " less than ",
    ">": " greater than ",
    "—": ", ",
    "–": ", ",  # noqa: RUF001 (a dash)
    "…": ", ",
    "(": ", ",
    ")": ", ",
    "\n": ". ",
    "/": " ",
    "_": " ",
    "^": " to the power of ",
    "²": " squared ",
    "³": " cubed ",
    "¢": " cents",
    "½": " one half ",
    "¼": " one quarter ",
    "¾": " three quarters ",
    "±": " plus or minus ",
    "≈": " about ",
    "√": " the square root of ",
    "π": " pi ",
    "→": ", ",
    "’": "'",  # noqa: RUF001 (an apostrophe)
}
MONTHS = (
    "January February March April May June July August September October November December"
).split()
SHORT = {month[:3]: month for month in MONTHS if month != "May"} | {"Sept": "September"}
SHORT |= {
    day[:3]: day
    for day in "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
    if day not in {"Saturday", "Sunday"}  # "Sat." and "Sun." end sentences
}
NUMBERED = ("World War", "Part", "Chapter", "Book", "Volume", "Act", "Phase", "Type", "Class")
"""What Roman numerals count; behind any other name they tell which king or pope it is."""
