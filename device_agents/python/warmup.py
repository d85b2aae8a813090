"""When a warm-up has done its work: the same rule in every agent, see PROTOCOL.md."""

#: At most so many samples are looked at, spread evenly over the whole warm-up.
MOST = 3000

#: Runs before the first test; those without which nothing can be told, or nothing but that it is
#: steady: of so few samples the errors are known too badly to speak of a change.
FIRST_TEST = 10
FEWEST = 6
FEWEST_UNSTEADY = 18

#: The standard error of a median over the median absolute deviation, times the root of n, of
#: normally distributed samples: sqrt(pi / 2) and 1 / 0.6745.
ERROR_PER_MAD = 1.2533 * 1.4826


class Steadiness:
    """Looks at the samples of a warm-up between its inferences.

    ``within`` is the relative difference that does not count; one step of the clock,
    ``resolution_ns``, never does.
    """

    def __init__(self, within, resolution_ns):
        self._within = within
        self._resolution = resolution_ns
        self._kept = []
        self._every = 1
        self._runs = 0
        self._next = FIRST_TEST

    def add(self, duration):
        """Take the next sample, ns. Where there are too many, every second one is dropped."""
        if self._runs % self._every == 0:
            self._kept.append(duration)
            if len(self._kept) == MOST:
                del self._kept[1::2]
                self._every *= 2
        self._runs += 1

    def reached(self):
        """Whether it is steady, asked after every run; tests each time the runs grew by 25 %."""
        if self._runs < self._next:
            return False
        self._next = self._runs + (self._runs + 3) // 4
        return self.found()

    def found(self):
        """Whether the last third has the median of the third before; ``None``: cannot tell.

        Steady is what lies within two standard errors, and changing what lies beyond four: of
        steady samples one in twenty is beyond two by chance, where there are few even one in ten.
        """
        if self._runs < FEWEST:
            return None
        third = len(self._kept) // 3
        last, last_square = _median(self._kept[-third:])
        before, before_square = _median(self._kept[-2 * third : -third])
        apart = abs(last - before)
        if apart <= max(self._within * last, self._resolution):
            return True
        square = last_square + before_square
        if apart * apart <= 4 * square:
            return True
        return False if self._runs >= FEWEST_UNSTEADY and apart * apart > 16 * square else None


def _median(values):
    """The median, and the square of its standard error by the median absolute deviation."""
    middle = _middle(sorted(values))
    error = ERROR_PER_MAD * _middle(sorted(abs(value - middle) for value in values))
    return middle, error * error / len(values)


def _middle(ordered):
    half = len(ordered) // 2
    return float(ordered[half]) if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2.0
