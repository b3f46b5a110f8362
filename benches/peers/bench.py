#!/usr/bin/python3
"""bench.py DIR TOP OUT [PEER...]: one OpenVPN after the other, each with another judge; see peers.sh.

What is measured of each peer:
  up       ms from a client's start to its tunnel, median of 20, one after the other
  logins   logins per second of 100 clients, at most 16 handshakes open
  stall    ms of a 10 ms ping through the tunnel of a connected client while 50 others log in, again and again until
           1,500 were sent: p99.9 and worst, and how many got no answer at all; the logins per second of those 50 each
           time, and how many of them failed
  alone    ms that one hash takes by itself, of this daemon's kind and in the same run (`examples/hash-alone.rs`)
The stall once with the database at hand and once with each of its answers 200 ms later.
"""
import asyncio, json, os, pathlib, platform, re, shutil, signal, statistics, subprocess, sys, time

from peers import PEERS, Site, Warden, run

UP, LOGINS, OTHERS, PENDING, DELAY, PINGS = 20, 100, 50, 16, 200, 1_500


class Client:
    """A real OpenVPN client; `dev null` unless it is the one that pings. Each has a port of its own: to a server that has
    not missed the one before, another client at the same port is the same client with another name."""

    ports = iter(range(20_000, 60_000))

    def __init__(self, site, peer, number, tun=False):
        name = f"user{number:03}"
        folder = site.dir / "clients"
        folder.mkdir(exist_ok=True)
        secret = folder / name
        if not secret.exists():
            secret.write_text(f"{name}\n{site.password}\n")
        self.arguments = [
            "ip", "netns", "exec", "client", "openvpn", "--client", "--remote", "192.0.2.1", "1194", "udp", "--lport", str(next(self.ports)), "--explicit-exit-notify", "1",
            "--ca", "ca.crt", "--cert", "client.crt", "--key", "client.key", "--remote-cert-tls", "server",
            "--tls-crypt", "tls-crypt.key", "--push-peer-info", "--setenv", "UV_CLIENT_MAC", site.mac(number),
            "--verb", "3", "--connect-retry-max", "1", "--connect-timeout", "100", "--auth-retry", "none",
        ]
        self.arguments += ["--dev", "tun", "--dev-type", "tun"] if tun else ["--dev", "null", "--ifconfig-noexec", "--route-noexec"]
        if peer.has_password:
            self.arguments += ["--auth-user-pass", str(secret)]

    async def up(self, patience=120):
        """Seconds until its tunnel is up."""
        begun = time.monotonic()
        self.process = await asyncio.create_subprocess_exec(
            *self.arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
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


async def measure_up(site, peer):
    took = []
    for number in range(UP):
        client = Client(site, peer, number)
        took.append(await client.up() * 1e3)
        await client.down()
        await asyncio.sleep(0.1)
    return round(statistics.median(took), 1)


async def measure_logins(site, peer):
    clients, took, failed = await storm(site, peer, range(LOGINS))
    await quiet(clients)
    if failed:
        raise failed[0]
    return round(LOGINS / took, 1)


async def measure_stall(site, peer):
    first = Client(site, peer, 120, tun=True)
    await first.up()
    await asyncio.sleep(1)
    waits, sent, storms, took, failed = [], 0, 0, 0.0, 0
    while sent < PINGS:
        more, others, seconds, lost = await ping_while(site, peer)
        # What never came back waited longer than anything that did.
        waits += more + [float("inf")] * (others - len(more))
        sent, storms, took, failed = sent + others, storms + 1, took + seconds, failed + lost
    await quiet([first])
    waits.sort()
    at = lambda share: waits[min(len(waits) - 1, int(len(waits) * share))]
    shown = lambda value: None if value == float("inf") else round(value, 1)
    return {"pings": sent, "storms": storms, "median": shown(at(0.5)), "p99": shown(at(0.99)), "p99_9": shown(at(0.999)),
            "worst": shown(waits[-1]), "unanswered": waits.count(float("inf")),
            "logins_per_s": round((storms * OTHERS - failed) / took, 1), "failed": failed}


async def ping_while(site, peer):
    """Those 50 log in: milliseconds of each ping that came back, how many were sent, the seconds of the logins, and how
    many of them failed."""
    ping = await asyncio.create_subprocess_exec(
        "ip", "netns", "exec", "client", "ping", "-n", "-i", "0.01", "-W", "1", "10.8.0.1",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    output = asyncio.create_task(ping.stdout.read())
    await asyncio.sleep(0.5)
    clients, took, failed = await storm(site, peer, range(OTHERS))
    await asyncio.sleep(1)
    ping.send_signal(signal.SIGINT)
    text = (await output).decode()
    await ping.wait()
    await quiet(clients)
    times = [float(found) for found in re.findall(r"time=([0-9.]+) ms", text)]
    sent = int(re.search(r"(\d+) packets transmitted", text)[1])
    # The last one may have been on its way when the ping was ended.
    return times, max(sent - 1, len(times)), took, len(failed)


async def measure(site, peer):
    result = {"peer": peer.name, "what": peer.what, "hash": peer.hash}
    async with peer.running(site, delay=0):
        if isinstance(peer, Warden):
            result["hash_alone_ms"] = float(run(site.top / "target/release/examples/hash-alone"))
        result["up_ms"] = await measure_up(site, peer)
        result["logins_per_s"] = await measure_logins(site, peer)
        result["stall"] = await measure_stall(site, peer)
    if peer.has_database:
        async with peer.running(site, delay=DELAY):
            result["stall_delayed"] = await measure_stall(site, peer)
    return result


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


async def main():
    folder, top, out, *names = sys.argv[1:]
    site = Site(pathlib.Path(folder), pathlib.Path(top))
    await site.prepare(OTHERS + LOGINS)
    results = []
    for peer in PEERS:
        if names and peer.name not in names:
            continue
        print(f"== {peer.name}: {peer.what}", flush=True)
        try:
            result = await measure(site, peer)
        except RuntimeError:
            for log in sorted(site.dir.glob("*.log")):
                print(f"--- {log.name}", *log.read_text(errors="replace").splitlines()[-12:], sep="\n", file=sys.stderr)
            raise
        print(json.dumps(result), flush=True)
        results.append(result)
    found = {result["peer"]: result for result in results}
    if "none" in found and "ovpn-warden" in found:
        ours, floor = found["ovpn-warden"], found["none"]["up_ms"]
        least = floor + ours["hash_alone_ms"]
        verdict = "MET " if ours["up_ms"] <= 1.15 * least else "MISS"
        print(f"{verdict}    time to the tunnel <= 1.15 x (no auth + one hash)    measured {ours['up_ms'] / least:.2f} "
              f"({ours['up_ms']} ms, {floor} + {ours['hash_alone_ms']} ms)", flush=True)
        least = found["none"]["stall"]["p99_9"]
        for name, key in (("at hand", "stall"), (f"{DELAY} ms later", "stall_delayed")):
            most = ours[key]["p99_9"]
            verdict = "MET " if most is not None and least is not None and most <= 1.2 * least else "MISS"
            print(f"{verdict}    ping p99.9 while 50 log in, database {name}, <= 1.2 x that without any auth    measured {most} ms, {least} ms", flush=True)
    if names:
        return
    text = json.dumps({"day": time.strftime("%Y-%m-%d"), "versions": versions(top), "results": results}, indent=1)
    pathlib.Path(out).write_text(text + "\n")


os.chdir(sys.argv[1])
asyncio.run(main())
