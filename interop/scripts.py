"""The Python examples, run as their headers say, against the lake."""


def run(check, world):
    pass
