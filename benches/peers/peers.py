#!/usr/bin/python3
import asyncio, contextlib, json, pathlib, shutil, socket, subprocess, sys, time

HERE = pathlib.Path(__file__).resolve().parent
ARGON2 = "argon2id, m = 19 MiB, t = 2, p = 1"
SHA512 = "sha512-crypt, 5,000 rounds"


def run(*command, **more):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **more)
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stdout}{done.stderr}")
    return done.stdout


async def wait_for(what, test, patience=20):
    end = time.monotonic() + patience
    while not test():
        if time.monotonic() > end:
            raise RuntimeError(f"waited in vain for {what}")
        await asyncio.sleep(0.05)


def answers(port):
    with socket.socket() as one:
        one.settimeout(0.2)
        return one.connect_ex(("127.0.0.1", port)) == 0


def take_share(process, nice):
    """Linux shares a full processor between sessions, and this is how nice a whole one is: that of this process."""
    share = pathlib.Path(f"/proc/{process}/autogroup")
    if share.exists():
        share.write_text(f"{nice}\n")
    elif nice:
        print(f"this system shares no processor between sessions: {process} has no smaller part of it", flush=True)


class Site:
    """A MariaDB with the same users for all, and an OpenVPN server, on these cores."""

    password = "correct horse battery staple"

    def __init__(self, folder, top, cores):
        self.dir, self.top = folder, top
        # Not with what is left only, as who starts them.
        self.on_server = ["chrt", "--other", "0", "taskset", "-c", cores]
        self.warden = top / "target/release/ovpn-warden"
        env = dict(line.split("=", 1) for line in (folder / "db.env").read_text().splitlines())
        self.socket = env["SOCKET"]
        self.port = int(env["URL"].rstrip("/").rsplit(":", 1)[1])
        self.slow_port = 3999

    @staticmethod
    def mac(number):
        return f"02:00:00:00:{number // 256:02x}:{number % 256:02x}"

    def database(self, delay):
        return self.slow_port if delay else self.port

    def sql(self, text, database=""):
        return run("mariadb", "--no-defaults", "-N", "-S", self.socket, "-u", "root", *([database] if database else []), input=text)

    def command(self, *arguments, text=None):
        return run(self.warden, "-c", self.dir / "warden.toml", *arguments, input=text)

    async def prepare(self, users):
        self.users = users + 1
        (self.dir / "management.pw").write_text("management password\n")
        self.write_warden(delay=0, wake_up=True)
        argon = self.command("hash", text=self.password + "\n").strip()
        crypt = run("openssl", "passwd", "-6", "-salt", "saltsaltsaltsalt", self.password).strip()
        names = [f"user{number:03}" for number in range(self.users)]
        rows = lambda make: ",".join(make(number, name) for number, name in enumerate(names))
        self.sql("CREATE DATABASE warden_peers; CREATE DATABASE warden_others")
        self.sql(
            "CREATE TABLE script_users (id INT PRIMARY KEY, name VARCHAR(64) UNIQUE, password_hash VARCHAR(255), enabled BOOL);"
            "CREATE TABLE script_devices (user_id INT, mac CHAR(17), PRIMARY KEY (user_id, mac));"
            "CREATE TABLE script_sessions (id INT AUTO_INCREMENT PRIMARY KEY, user VARCHAR(64), vpn_ip VARCHAR(45), started DATETIME,"
            "  ended DATETIME, bytes BIGINT, KEY (user));"
            "CREATE TABLE pam_users (name VARCHAR(64) PRIMARY KEY, password VARCHAR(255));"
            f"INSERT INTO script_users VALUES {rows(lambda i, n: f'({i}, {n!r}, {argon!r}, 1)')};"
            f"INSERT INTO script_devices VALUES {rows(lambda i, n: f'({i}, {self.mac(i)!r})')};"
            f"INSERT INTO pam_users VALUES {rows(lambda i, n: f'({n!r}, {crypt!r})')};", "warden_others")
        schema = pathlib.Path("/etc/freeradius/3.0/mods-config/sql/main/mysql/schema.sql").read_text()
        self.sql(schema, "warden_others")
        self.sql("INSERT INTO radcheck (username, attribute, op, value) VALUES "
                 + rows(lambda i, n: f"({n!r}, 'Crypt-Password', ':=', {crypt!r})"), "warden_others")
        self.command("migrate")
        lines = ["name,password_hash,devices"] + [f'{name},"{argon}",{self.mac(number)}' for number, name in enumerate(names)]
        (self.dir / "users.csv").write_text("\n".join(lines) + "\n")
        self.command("import", "csv", self.dir / "users.csv", "--apply")

    def write_warden(self, delay, wake_up):
        (self.dir / "warden.toml").write_text(f"""
[database]
url = "mysql://warden:warden@127.0.0.1:{self.database(delay)}/warden_peers?ssl-mode=DISABLED"
[[servers]]
name = "bench"
management = "tcp://127.0.0.1:7505"
password_file = "{self.dir}/management.pw"
[auth]
device_mode = "enforce"
wake_up = {str(wake_up).lower()}
[journal]
path = "{self.dir}/journal.db"
[http]
listen = ""
""")

    @contextlib.asynccontextmanager
    async def process(self, name, *command, nice=0):
        """A program that runs meanwhile, in a session of its own, as services do, that is so nice. Its log is NAME.log."""
        with open(self.dir / f"{name}.log", "ab") as log:
            process = await asyncio.create_subprocess_exec(
                *self.on_server, *[str(part) for part in command], stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            take_share(process.pid, nice)
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 10)
            except TimeoutError:
                process.kill()
                await process.wait()

    @contextlib.asynccontextmanager
    async def openvpn(self, peer, *options):
        name = f"server-{peer.port}"
        log = self.dir / f"{name}.log"
        log.unlink(missing_ok=True)
        base = ["openvpn", "--port", peer.port, "--proto", "udp", "--dev", "tun", "--topology", "subnet", "--server", f"{peer.network}.0", "255.255.252.0",
                "--ca", "ca.crt", "--cert", "server.crt", "--key", "server.key", "--dh", "none", "--tls-crypt", "tls-crypt.key",
                "--verify-client-cert", "require", "--duplicate-cn", "--keepalive", "10", "120", "--verb", "3", "--status", "/dev/null"]
        async with self.process(name, *base, *options):
            yield
            # The next one finds the device gone.
        await wait_for("the port", lambda: not run("ss", "-Hlun", "sport", "=", f":{peer.port}").strip())

    async def server_is_up(self, peer):
        log = self.dir / f"server-{peer.port}.log"
        await wait_for("the server", lambda: log.exists() and "Initialization Sequence Completed" in log.read_text(errors="replace"))


class Peer:
    has_password = has_database = True
    port, network = 1194, "10.8.0"

    def __init__(self, name, what, hash_):
        self.name, self.what, self.hash = name, what, hash_

    @contextlib.asynccontextmanager
    async def running(self, site, delay):
        async with contextlib.AsyncExitStack() as stack:
            if delay:
                await stack.enter_async_context(site.process("slow", sys.executable, HERE / "slow.py", site.slow_port, site.port, delay))
                await wait_for("the slow way", lambda: answers(site.slow_port))
            await self.start(site, delay, stack)
            yield


class Floor(Peer):
    has_password = has_database = False
    # Its server runs beside that of another.
    port, network = 1195, "10.9.0"

    async def start(self, site, delay, stack):
        await stack.enter_async_context(site.openvpn(self))
        await site.server_is_up(self)


class Script(Peer):
    async def start(self, site, delay, stack):
        folder = site.dir / "access"
        shutil.copytree(HERE / "scripts", folder, dirs_exist_ok=True)
        settings = {"host": "127.0.0.1", "port": site.database(delay), "user": "warden", "password": "warden", "database": "warden_others"}
        (folder / "settings.json").write_text(json.dumps(settings))
        await stack.enter_async_context(site.openvpn(
            self, "--script-security", "3", "--auth-user-pass-verify", f"{folder}/auth.py", "via-env",
            "--client-connect", f"{folder}/session.py", "--client-disconnect", f"{folder}/session.py"))
        await site.server_is_up(self)


class Pam(Peer):
    def __init__(self, *arguments, deferred):
        super().__init__(*arguments)
        self.deferred = deferred

    async def start(self, site, delay, stack):
        line = (f"pam_mysql.so user=warden passwd=warden host=127.0.0.1:{site.database(delay)} db=warden_others table=pam_users "
                "usercolumn=name passwdcolumn=password crypt=1")
        pathlib.Path("/etc/pam.d/openvpn").write_text(f"auth required {line}\naccount required {line}\n")
        options = ["--setenv", "deferred_auth_pam", "1"] if self.deferred else []
        await stack.enter_async_context(site.openvpn(
            self, *options, "--plugin", "/usr/lib/openvpn/openvpn-plugin-auth-pam.so", "openvpn login USERNAME password PASSWORD"))
        await site.server_is_up(self)


class Radius(Peer):
    async def start(self, site, delay, stack):
        folder = site.dir / "raddb"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree("/etc/freeradius/3.0", folder, symlinks=True)
        for place in ("mods-enabled", "sites-enabled"):
            for link in (folder / place).iterdir():
                link.unlink()
        for name in ("always", "pap", "preprocess", "expr", "attr_filter", "radutmp", "realm", "files", "exec"):
            (folder / "mods-enabled" / name).symlink_to(f"../mods-available/{name}")
        (folder / "mods-enabled/sql").write_text(f"""sql {{
  driver = "rlm_sql_mysql"
  dialect = "mysql"
  server = "127.0.0.1"
  port = {site.database(delay)}
  login = "warden"
  password = "warden"
  radius_db = "warden_others"
  acct_table1 = "radacct"
  acct_table2 = "radacct"
  postauth_table = "radpostauth"
  authcheck_table = "radcheck"
  groupcheck_table = "radgroupcheck"
  authreply_table = "radreply"
  groupreply_table = "radgroupreply"
  usergroup_table = "radusergroup"
  client_table = "nas"
  group_attribute = "SQL-Group"
  pool {{
    start = 5
    min = 3
    max = 32
    spare = 5
    uses = 0
    lifetime = 0
    idle_timeout = 60
    retry_delay = 1
  }}
  $INCLUDE ${{modconfdir}}/sql/main/mysql/queries.conf
}}
""")
        (folder / "sites-enabled/default").write_text("""server default {
  listen {
    type = auth
    ipaddr = 127.0.0.1
    port = 1812
  }
  listen {
    type = acct
    ipaddr = 127.0.0.1
    port = 1813
  }
  authorize {
    preprocess
    sql
    pap
  }
  authenticate {
    Auth-Type PAP {
      pap
    }
  }
  preacct {
    preprocess
  }
  accounting {
    sql
  }
}
""")
        run("chmod", "-R", "u+rwX", folder)
        config = (folder / "radiusd.conf").read_text()
        for key in ("user", "group"):
            config = config.replace(f"\t{key} = freerad\n", f"\t{key} = root\n")
        config = config.replace("raddbdir = /etc/freeradius/3.0", f"raddbdir = {folder}").replace("run_dir = ${localstatedir}/run/${name}", f"run_dir = {site.dir}")
        (folder / "radiusd.conf").write_text(config)
        (site.dir / "server.conf").write_text("status /dev/null\n")
        (site.dir / "radius.cnf").write_text(f"""NAS-Identifier=OpenVpn
Service-Type=5
Framed-Protocol=1
NAS-Port-Type=5
NAS-IP-Address=127.0.0.1
OpenVPNConfig={site.dir}/server.conf
subnet=255.255.252.0
overwriteccfiles=false
server
{{
	acctport=1813
	authport=1812
	name=127.0.0.1
	retry=3
	wait=5
	sharedsecret=testing123
}}
""")
        await stack.enter_async_context(site.process("radius", "freeradius", "-f", "-l", "stdout", "-d", folder))
        await wait_for("FreeRADIUS", lambda: run("ss", "-Hlun", "sport", "=", ":1812").strip())
        await stack.enter_async_context(site.openvpn(self, "--plugin", "/usr/lib/openvpn/radiusplugin.so", site.dir / "radius.cnf"))
        await site.server_is_up(self)


# As a nice value, about what `CPUWeight=10` in the daemon's unit gives it: a tenth of what OpenVPN gets of a full processor.
SHARE = 10


class Warden(Peer):
    def __init__(self, *arguments, wake_up):
        super().__init__(*arguments)
        self.wake_up = wake_up

    async def start(self, site, delay, stack):
        site.write_warden(delay, self.wake_up)
        log = site.dir / "warden.log"
        log.unlink(missing_ok=True)
        await stack.enter_async_context(site.openvpn(
            self, "--management", "127.0.0.1", "7505", site.dir / "management.pw", "--management-client-auth", "--management-hold"))
        await stack.enter_async_context(site.process("warden", site.warden, "-c", site.dir / "warden.toml", "run", nice=SHARE))
        await site.server_is_up(self)
        await wait_for("the link", lambda: '"link.up"' in log.read_text())
        await asyncio.sleep(1)


PEERS = [
    Floor("none", "client certificates only", "–"),
    Warden("ovpn-warden", "this daemon", ARGON2, wake_up=True),
    Warden("ovpn-warden, no wake-up", "this daemon, `auth.wake_up = false`", ARGON2, wake_up=False),
    Script("scripts", "auth.py and session.py", ARGON2),
    Pam("pam_mysql", "openvpn-plugin-auth-pam", SHA512, deferred=False),
    Pam("pam_mysql, deferred", "the same with `deferred_auth_pam`", SHA512, deferred=True),
    Radius("RADIUS", "openvpn-auth-radius, FreeRADIUS", SHA512),
]
