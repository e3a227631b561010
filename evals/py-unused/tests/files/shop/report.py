from . import orders


def lines(items):
    yield str(orders.total(items))


def header():
    return "total"


def footer():
    return "end"
