"""The stall: what a ping through a connected client's tunnel waits while others log in. Only pings that were sent while they
did are counted; one that got no answer waited longer than any that did. `Stall` is pure, `ping_while` measures."""
import asyncio, math, random, re, signal, statistics, time
from itertools import chain

LOST = float("inf")
RESAMPLES = 1_000
# For what only looks on from another machine: it never waits for a core here, and needs one for a tenth of a millisecond.
ELSEWHERE = ("chrt", "--fifo", "10")


def quantile(waits, share):
    """Of sorted ones."""
    return waits[min(len(waits) - 1, int(len(waits) * share))]


def shown(value, digits=1):
    return round(value, digits) if math.isfinite(value) else None


def p99_9(storms):
    return quantile(sorted(chain.from_iterable(storms)), 0.999)


class Stall:
    """Storms of logins, each with the waits of its pings in ms."""

    def __init__(self, others, rounds=()):
        self.others, self.storms, self.took, self.failed = others, [], 0.0, 0
        self.rounds = list(rounds)
        for one in self.rounds:
            self.storms += one.storms
            self.took, self.failed = self.took + one.took, self.failed + one.failed

    def add(self, waits, took, failed):
        if not waits:
            raise RuntimeError("no ping was sent while others logged in")
        self.storms.append(waits)
        self.took, self.failed = self.took + took, self.failed + failed

    @property
    def pings(self):
        return sum(len(storm) for storm in self.storms)

    def summary(self):
        waits = sorted(chain.from_iterable(self.storms))
        found = {"pings": len(waits), "storms": len(self.storms), "median": shown(quantile(waits, 0.5)), "p99": shown(quantile(waits, 0.99)),
                 "p99_9": shown(quantile(waits, 0.999)), "worst": shown(waits[-1]),
                 "worst_of_a_storm": shown(statistics.median(max(storm) for storm in self.storms)), "unanswered": waits.count(LOST),
                 "logins_per_s": round((len(self.storms) * self.others - self.failed) / self.took, 1), "failed": self.failed}
        if self.rounds:
            found["rounds"] = [one.summary() for one in self.rounds]
        return found

    def ratio(self, floor):
        """Its p99.9 to the floor's, and between what 95 of 100 such ratios are when storms are drawn again at random: pings of
        one storm share their fate, storms do not. `None` for what pings were lost of."""
        draw = random.Random(1)
        again = lambda storms: p99_9(draw.choices(storms, k=len(storms)))
        ratios = sorted(again(self.storms) / again(floor.storms) for _ in range(RESAMPLES))
        found = p99_9(self.storms) / p99_9(floor.storms), quantile(ratios, 0.025), quantile(ratios, 0.975)
        return dict(zip(("to_floor", "from", "to"), (shown(value, 2) for value in found)))


class Ping:
    """A ping each 10 ms to that address: what came back of it, as number, moment of sending and ms. `fping`, as `ping` waits
    in ticks of the kernel's clock, 12 to 16 ms instead of 10, and goes round and round while less is left, for up to 8 ms."""

    line = re.compile(r"\[([0-9.]+)\] .* \[(\d+)\], \d+ bytes, ([0-9.]+) ms ")

    def __init__(self, address):
        self.address, self.answers, self.text = address, {}, ""

    async def begin(self):
        self.process = await asyncio.create_subprocess_exec(
            *ELSEWHERE, "nsenter", "--net=/run/netns/client", "fping", "-D", "-l", "-p", "10", "-t", "60000", self.address,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True)
        self.reader = asyncio.create_task(self.read())
        # The server may still be busy with those who left.
        if not await self.until(0, patience=120):
            await self.end()
            raise RuntimeError(f"no ping comes through the tunnel: {self.text}")

    async def read(self):
        async for line in self.process.stdout:
            line = line.decode()
            if found := self.line.match(line):
                wait = float(found[3])
                self.answers[int(found[2])] = (float(found[1]) - wait / 1e3, wait)
            else:
                self.text += line

    async def until(self, moment, patience):
        """Until one that was sent after that moment is back: then those before it are back or lost. Whether one is."""
        end = time.monotonic() + patience
        while not any(sent > moment for sent, _ in reversed(self.answers.values())):
            if time.monotonic() > end:
                return False
            await asyncio.sleep(0.02)
        return True

    async def end(self):
        self.process.send_signal(signal.SIGINT)
        await self.process.wait()
        await self.reader

    def waits(self, begun, ended):
        """Of those that were sent in between. One without an answer was sent 10 ms after the one before it."""
        sent_in_all = int(re.search(r"xmt/rcv/%loss = (\d+)/", self.text)[1])
        waits, sent = [], 0.0
        for number in range(max([sent_in_all, *(number + 1 for number in self.answers)])):
            sent, wait = self.answers.get(number, (sent + 0.01, LOST))
            if begun <= sent <= ended:
                waits.append(wait)
        return waits


async def ping_while(address, work):
    """The waits while that is done, and what it gave."""
    ping = Ping(address)
    await ping.begin()
    begun = time.time()
    try:
        done = await work
    finally:
        ended = time.time()
        await ping.until(ended, patience=1)
        await ping.end()
    return ping.waits(begun, ended), done
