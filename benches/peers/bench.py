#!/usr/bin/python3
"""bench.py DIR TOP OUT CORES [--short] [PEER...]: one OpenVPN after the other, each with another judge; see peers.sh. What
belongs to the server runs on these CORES, the clients where this does.

On a real network no client is on the server's machine. So this program and the clients that log in have only what the
server's side leaves of the cores, and the one that pings, through which the others are looked at, never waits for one.

What is measured of each peer:
  up       ms from a client's start to its tunnel, median of 20, one after the other; of the two that are held against each
           other of 41, in turns with each other and with a hash by itself
  logins   logins per second of 100 clients, at most 16 handshakes open
  stall    ms of a 10 ms ping through the tunnel of a connected client while 50 others log in, again and again until
           1,000 were sent meanwhile: p99.9 and worst, and how many got no answer at all; the logins per second of those
           50 each time, and how many of them failed
  alone    ms that one hash takes by itself, of this daemon's kind (`examples/hash-alone.rs`)
The stall once with the database at hand and once with each of its answers 200 ms later. Of the two that are held against
each other, no auth and this daemon, in turns: four rounds of 1,500 pings each.

With --short some minutes for those two alone, a sixth of the pings: to see that it works. Nothing is written then,
nor with any other argument.
"""
import asyncio, contextlib, itertools, json, os, pathlib, platform, statistics, subprocess, sys, time

from peers import PEERS, Site, take_share
from stall import ELSEWHERE, Stall, ping_while, shown

PENDING, OTHERS, DELAY = 16, 50, 200
ARGUMENTS = sys.argv[5:]
SHORT = "--short" in ARGUMENTS
UP, UP_IN_TURNS, LOGINS, PINGS, ROUNDS, PINGS_A_ROUND = (5, 9, 50, 250, 2, 500) if SHORT else (20, 41, 100, 1_000, 4, 1_500)
FLOOR, OURS = JUDGED = ("none", "ovpn-warden")


class Client:
    """A real OpenVPN client; `dev null` unless it is the one that pings, which never waits for a core: see `ELSEWHERE`. `nsenter`, as `ip netns exec` takes milliseconds in the kernel for its mounts. Each has a port of its own: to a server that has not missed the one before,
    another client at the same port is the same client with another name. Of 40,000 the first has long gone."""

    ports = itertools.cycle(range(20_000, 60_000))

    def __init__(self, site, peer, number, tun=False):
        name = f"user{number:03}"
        folder = site.dir / "clients"
        folder.mkdir(exist_ok=True)
        secret = folder / name
        if not secret.exists():
            secret.write_text(f"{name}\n{site.password}\n")
        self.arguments = [
            *(ELSEWHERE if tun else ()), "nsenter", "--net=/run/netns/client", "openvpn", "--client", "--remote", "192.0.2.1", str(peer.port), "udp", "--lport", str(next(self.ports)), "--explicit-exit-notify", "1",
            "--ca", "ca.crt", "--cert", "client.crt", "--key", "client.key", "--remote-cert-tls", "server",
            "--tls-crypt", "tls-crypt.key", "--push-peer-info", "--setenv", "UV_CLIENT_MAC", site.mac(number),
            "--verb", "1", "--connect-retry-max", "1", "--connect-timeout", "100", "--auth-retry", "none",
        ]
        self.is_pinging = tun
        self.arguments += ["--dev", "tun", "--dev-type", "tun"] if tun else ["--dev", "null", "--ifconfig-noexec", "--route-noexec"]
        if peer.has_password:
            self.arguments += ["--auth-user-pass", str(secret)]

    async def up(self, patience=120):
        """Seconds until its tunnel is up."""
        begun = time.monotonic()
        self.process = await asyncio.create_subprocess_exec(
            *self.arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            start_new_session=self.is_pinging)
        lines = []
        async def read():
            async for line in self.process.stdout:
                lines.append(line.decode(errors="replace").rstrip())
                if "Initialization Sequence Completed" in lines[-1]:
                    return True
            return False
        try:
            is_up = await asyncio.wait_for(read(), patience)
        except TimeoutError:
            is_up = False
        took = time.monotonic() - begun
        if not is_up:
            await self.down()
            raise RuntimeError("a client does not come up:\n" + "\n".join(lines[-15:]))
        self.drain = asyncio.create_task(self.process.stdout.read())
        return took

    async def down(self):
        if self.process.returncode is None:
            self.process.terminate()
        await self.process.wait()


async def storm(site, peer, numbers):
    """All these log in; the clients and the seconds that it took."""
    gate, begun = asyncio.Semaphore(PENDING), time.monotonic()
    clients = [Client(site, peer, number) for number in numbers]
    async def one(client):
        async with gate:
            return await client.up()
    outcomes = await asyncio.gather(*(one(client) for client in clients), return_exceptions=True)
    took = time.monotonic() - begun
    failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    return clients, took, failed


async def quiet(clients):
    await asyncio.gather(*(client.down() for client in clients))


async def one_hash(hashing):
    """The ms that it takes `hash-alone`."""
    hashing.stdin.write(b"\n")
    if not (line := await hashing.stdout.readline()):
        raise RuntimeError("hash-alone has ended")
    return float(line)


async def one_up(site, peer, number):
    """The ms of one client."""
    await asyncio.sleep(0.1)
    client = Client(site, peer, number)
    took = await client.up() * 1e3
    await client.down()
    await asyncio.sleep(0.1)
    return took


async def measure_up(site, peer):
    return {"up_ms": shown(statistics.median([await one_up(site, peer, number) for number in range(UP)]))}


async def measure_up_in_turns(site, floor, ours):
    """A client of the one, a hash by itself, a client of the other, and so on: a machine changes its pace for seconds."""
    print("== time to the tunnel, in turns:", floor.name, ours.name, flush=True)
    turns = []
    async with floor.running(site, delay=0), ours.running(site, delay=0), contextlib.AsyncExitStack() as stack:
        hashing = await asyncio.create_subprocess_exec(
            *site.on_server, site.top / "target/release/examples/hash-alone", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            start_new_session=True)
        stack.push_async_callback(hashing.wait)
        stack.callback(hashing.stdin.close)
        for number in range(UP_IN_TURNS):
            turns.append((await one_up(site, floor, number), await one_hash(hashing), await one_up(site, ours, number)))
    floor_ms, hash_ms, ours_ms = (statistics.median(each) for each in zip(*turns))
    ratio = statistics.median(up / (least + alone) for least, alone, up in turns)
    ours_found = {"up_ms": shown(ours_ms), "hash_alone_ms": shown(hash_ms), "up_ratio": shown(ratio, 2),
                  "up_ratio_of_medians": shown(ours_ms / (floor_ms + hash_ms), 2)}
    return shown(floor_ms), ours_found


async def measure_logins(site, peer):
    clients, took, failed = await storm(site, peer, range(LOGINS))
    await quiet(clients)
    if failed:
        raise failed[0]
    return round(LOGINS / took, 1)


async def measure_stall(site, peer, pings):
    first = Client(site, peer, site.users - 1, tun=True)
    await first.up()
    await asyncio.sleep(1)
    stall = Stall(OTHERS)
    while stall.pings < pings:
        waits, (clients, took, failed) = await ping_while(f"{peer.network}.1", storm(site, peer, range(OTHERS)))
        stall.add(waits, took, len(failed))
        await quiet(clients)
    await quiet([first])
    return stall


def delays(peer):
    return {"stall": 0} | ({"stall_delayed": DELAY} if peer.has_database else {})


async def measure(site, peer):
    result = {"peer": peer.name, "what": peer.what, "hash": peer.hash}
    async with peer.running(site, delay=0):
        result |= await measure_up(site, peer)
        result["logins_per_s"] = await measure_logins(site, peer)
    if peer.name not in JUDGED:
        for key, delay in delays(peer).items():
            async with peer.running(site, delay):
                result[key] = (await measure_stall(site, peer, PINGS)).summary()
    return result


async def measure_in_turns(site, peers):
    """The stalls of those, by name and key."""
    print("== the stall, in turns:", *(peer.name for peer in peers), flush=True)
    rounds = {(peer.name, key): [] for peer in peers for key in delays(peer)}
    for number in range(ROUNDS):
        for peer in peers:
            for key, delay in delays(peer).items():
                async with peer.running(site, delay):
                    stall = await measure_stall(site, peer, PINGS_A_ROUND)
                rounds[peer.name, key].append(stall)
                print(f"round {number + 1}, {peer.name}, {key}:", json.dumps(stall.summary()), flush=True)
    return {place: Stall(OTHERS, of_place) for place, of_place in rounds.items()}


def judge(found, stalls):
    """Prints the verdicts; the ratios go to the results."""
    ours = found[OURS]
    verdict = "MET " if ours["up_ratio"] <= 1.15 else "MISS"
    print(f"{verdict}    time to the tunnel <= 1.15 x (no auth + one hash)    measured {ours['up_ratio']} "
          f"(median of {UP_IN_TURNS} turns; {ours['up_ms']} ms, {found[FLOOR]['up_ms']} + {ours['hash_alone_ms']} ms, by which it is {ours['up_ratio_of_medians']})")
    for name, key in (("at hand", "stall"), (f"{DELAY} ms later", "stall_delayed")):
        most, least = ours[key], found[FLOOR]["stall"]
        ratio = most["ratio"] = stalls[OURS, key].ratio(stalls[FLOOR, "stall"])
        verdict = "MET " if ratio["to_floor"] is not None and ratio["to_floor"] <= 1.2 else "MISS"
        print(f"{verdict}    ping p99.9 while 50 log in, database {name}, <= 1.2 x that without any auth    measured {ratio['to_floor']} "
              f"({most['p99_9']} ms, rounds {spread(most)}; {least['p99_9']} ms, rounds {spread(least)}; "
              f"{ratio['from']} to {ratio['to']} in 95 of 100 draws of storms); the worst {most['worst']} and {least['worst']} ms, "
              f"median of the rounds' worst {worst(most)} and {worst(least)} ms, of the storms' worst {most['worst_of_a_storm']} and {least['worst_of_a_storm']} ms")


def spread(stall):
    of_rounds = [float("inf") if one["p99_9"] is None else one["p99_9"] for one in stall["rounds"]]
    return f"{min(of_rounds)} to {max(of_rounds)}"


def worst(stall):
    of_rounds = [float("inf") if one["worst"] is None else one["worst"] for one in stall["rounds"]]
    return shown(statistics.median(of_rounds))


def rows(found):
    """The table of docs/performance.md."""
    ms = lambda value: "lost" if value is None else f"{value:.0f}"
    def told(stall):
        if stall is None:
            return "–"
        if stall["p99_9"] is None:
            return f"{stall['unanswered']:,} of {stall['pings']:,} lost"
        of_rounds = f" ({spread(stall)})" if "rounds" in stall else ""
        return f"{ms(stall['p99_9'])}{of_rounds}, worst {ms(stall['worst'])}, of a storm {ms(stall['worst_of_a_storm'])}"
    for result in found.values():
        at_hand, later = result["stall"], result.get("stall_delayed")
        cells = [result["peer"], result["hash"], f"{result['up_ms']:,.0f}", f"{result['logins_per_s']:.0f}", told(at_hand), told(later),
                 "–" if later is None else later["logins_per_s"]]
        print("|", " | ".join(str(cell) for cell in cells), "|")


def versions(top):
    first = lambda *command: subprocess.run(command, capture_output=True, text=True).stdout.splitlines()[0].strip()
    package = lambda name: first("dpkg-query", "-W", "-f", "${Version}", name)
    return {
        "openvpn": first("openvpn", "--version").split()[1], "mariadb": package("mariadb-server-core"),
        "freeradius": package("freeradius"), "openvpn-auth-radius": package("openvpn-auth-radius"),
        "libpam-mysql": package("libpam-mysql"), "python3": platform.python_version(), "python3-argon2": package("python3-argon2"),
        "kernel": platform.release(), "cores": os.cpu_count(),
        "cpu": next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?"),
    }


def step_back():
    """This process and what it starts have what is left of the cores; for that it needs a session of its own."""
    if os.getsid(0) != os.getpid():
        raise RuntimeError("not in a session of its own, see peers.sh")
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    take_share("self", nice=19)


async def main():
    step_back()
    folder, top, out, cores, *names = (argument for argument in sys.argv[1:] if not argument.startswith("--"))
    site = Site(pathlib.Path(folder), pathlib.Path(top), cores)
    await site.prepare(OTHERS + LOGINS)
    chosen = names or (JUDGED if SHORT else [peer.name for peer in PEERS])
    peers = [peer for peer in PEERS if peer.name in chosen]
    found = {}
    try:
        for peer in peers:
            print(f"== {peer.name}: {peer.what}", flush=True)
            found[peer.name] = await measure(site, peer)
            print(json.dumps(found[peer.name]), flush=True)
        by_name = {peer.name: peer for peer in peers}
        if all(name in by_name for name in JUDGED):
            found[FLOOR]["up_ms"], of_ours = await measure_up_in_turns(site, by_name[FLOOR], by_name[OURS])
            found[OURS] |= of_ours
            print(json.dumps({FLOOR: found[FLOOR]["up_ms"], OURS: of_ours}), flush=True)
        stalls = await measure_in_turns(site, [peer for peer in peers if peer.name in JUDGED])
    except RuntimeError:
        for log in sorted(site.dir.glob("*.log")):
            print(f"--- {log.name}", *log.read_text(errors="replace").splitlines()[-12:], sep="\n", file=sys.stderr)
        raise
    for (name, key), stall in stalls.items():
        found[name][key] = stall.summary()
    if all(name in found for name in JUDGED):
        judge(found, stalls)
    rows(found)
    if ARGUMENTS:
        return
    text = json.dumps({"day": time.strftime("%Y-%m-%d"), "versions": versions(top), "server_cores": cores, "results": list(found.values())}, indent=1)
    pathlib.Path(out).write_text(text + "\n")


os.chdir(sys.argv[1])
asyncio.run(main())
