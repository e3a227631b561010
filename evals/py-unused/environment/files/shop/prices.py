def with_tax(cents, rate):
    return round(cents * (1 + rate))


def discount(cents, percent):
    return cents - cents * percent // 100


def legacy_round(cents):
    return cents // 10 * 10
