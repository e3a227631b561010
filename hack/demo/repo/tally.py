"""Adds up what people owe each other."""


def split(total_cents, people):
    """Split a bill so that the shares add up to it, to the cent.

    The first people pay the odd cents. With nobody there is nothing to split.
    """
    if people <= 0:
        raise ValueError("people must be at least 1")
    share = total_cents // people
    return [share] * people
