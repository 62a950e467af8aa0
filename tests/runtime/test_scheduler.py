from lfm2chat.runtime.scheduler import Priority, Scheduler


class Counting:
    def __init__(self, name, priority, steps):
        self.name, self.priority, self.steps = name, priority, steps
        self.cancelled = False

    def step(self):
        self.steps -= 1
        return self.steps > 0

    def cancel(self):
        self.cancelled = True

    def fail(self, error):
        raise AssertionError(error)


def run(scheduler):
    order = []
    while (sequence := scheduler.take()) is not None:
        order.append(sequence.name)
        if sequence.step():
            scheduler.add(sequence)
    return order


def test_sequences_of_one_priority_take_turns():
    scheduler = Scheduler()
    scheduler.add(Counting("a", Priority.USER, 3))
    scheduler.add(Counting("b", Priority.USER, 2))

    assert run(scheduler) == ["a", "b", "a", "b", "a"]


def test_the_users_turn_goes_before_everything_else():
    scheduler = Scheduler()
    scheduler.add(Counting("title", Priority.TITLE, 2))
    scheduler.add(Counting("user", Priority.USER, 2))
    scheduler.add(Counting("prime", Priority.PRIME, 1))

    assert run(scheduler) == ["user", "user", "prime", "title", "title"]


def test_cancelling_all_reaches_every_sequence():
    scheduler = Scheduler()
    sequences = [Counting("a", Priority.USER, 3), Counting("b", Priority.TITLE, 3)]
    for sequence in sequences:
        scheduler.add(sequence)

    scheduler.cancel_all()

    assert all(sequence.cancelled for sequence in sequences)
    assert len(scheduler) == 2
