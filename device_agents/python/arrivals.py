"""When queries arrive, drawn from a seed: the same times from every agent, to the nanosecond.

Neither logarithms nor anything else that C libraries round differently is used. See PROTOCOL.md.
"""

_MASK = (1 << 64) - 1


def uniform(seed):
    """Whole numbers below 2**53, for ever: the upper bits of SplitMix64.

    Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014.
    """
    state = seed & _MASK
    while True:
        state = (state + 0x9E3779B97F4A7C15) & _MASK
        value = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
        yield (value ^ (value >> 31)) >> 11


def exponential(draw):
    """Numbers of the exponential distribution of mean 1, for ever, by comparisons alone.

    J. von Neumann: Various Techniques Used in Connection with Random Digits, 1951: of numbers
    that fall, u1 >= u2 >= ..., the run has an odd length with probability exp(-u1).
    """
    while True:
        whole = 0
        while True:
            first = last = next(draw)
            length = 1
            following = next(draw)
            while following <= last:
                last, length = following, length + 1
                following = next(draw)
            if length % 2:
                break
            whole += 1
        yield whole + first * 2.0**-53


def arrivals(seed, rate):
    """Times in whole ns, the first 0, of a Poisson process of ``rate`` arrivals per second."""
    at = 0
    mean = 1e9 / rate
    for gap in exponential(uniform(seed)):
        yield at
        at += int(gap * mean)
