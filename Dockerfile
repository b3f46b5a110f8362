# syntax=docker/dockerfile:1
# Two images: `warden` (the default) and `openvpn`, the small server that docker-compose.yml uses.

FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
# The caches stay with the builder and never enter an image.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked \
 && install -D target/release/ovpn-warden /out/ovpn-warden

FROM debian:bookworm-slim AS openvpn
RUN apt-get update \
 && apt-get install -y --no-install-recommends openvpn iproute2 \
 && rm -rf /var/lib/apt/lists/*
COPY conf/openvpn-server.conf /etc/openvpn/server/warden.conf
EXPOSE 1194/udp
# The folder of the management socket is one that only root and ovpn-warden's group may enter.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["test", "-S", "/run/ovpn-warden-mgmt/warden.sock"]
# Keys, certificates and the management password are secrets, so that is the folder to start in.
ENTRYPOINT ["openvpn", "--cd", "/run/secrets", "--config", "/etc/openvpn/server/warden.conf", \
            "--management", "/run/ovpn-warden-mgmt/warden.sock", "unix", "management.pw"]

FROM debian:bookworm-slim AS warden
RUN groupadd --system --gid 10001 ovpn-warden \
 && useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/ovpn-warden --shell /usr/sbin/nologin ovpn-warden \
 && install -d -o 10001 -g 10001 -m 0700 /var/lib/ovpn-warden
COPY --from=build /out/ovpn-warden /usr/local/bin/ovpn-warden
USER 10001:10001
# Only for the embedded database; with MySQL nothing is written.
VOLUME /var/lib/ovpn-warden
# Ready means: the database answers and every management link is up. No curl needed: bash speaks TCP.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["bash", "-c", \
  "exec 3<>/dev/tcp/127.0.0.1/9176 && printf 'GET /readyz HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && read -r -t 4 _ code _ <&3 && [ \"$code\" = 200 ]"]
ENTRYPOINT ["ovpn-warden"]
CMD ["run"]
