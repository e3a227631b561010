from .prices import discount, with_tax


def total(items):
    return sum(with_tax(i["cents"], 0.2) for i in items)


def cheap(items):
    return [discount(i["cents"], 10) for i in items]


def _debug(items):
    print(items)
