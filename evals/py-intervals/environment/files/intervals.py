def merge(intervals):
    """The union of intervals, as a sorted list of pairs."""
    intervals.sort()
    out = []
    for start, end in intervals:
        if out and start < out[-1][1]:
            out[-1] = (out[-1][0], end)
        else:
            out.append((start, end))
    return out
