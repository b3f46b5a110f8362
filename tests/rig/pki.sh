#!/usr/bin/env bash
# pki.sh DIR [CLIENT...] : a throw-away PKI for tests and the demo. Never for production: keys lie
# there unprotected, and everything ends after 30 days.
#
#   DIR/ca.crt ca.key  server.crt server.key  CLIENT.crt CLIENT.key (default: client)  tls-crypt.key
#
# What exists is kept, so calling it again with another CLIENT adds that client.
set -euo pipefail

dir=${1:?usage: pki.sh DIR [CLIENT...]}
shift
clients=("${@:-client}")
mkdir -p "$dir"
cd "$dir"
umask 077

# EC P-256: a key costs a millisecond, RSA would cost a second.
new_key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)

if [[ ! -s ca.crt ]]; then
  openssl req -x509 "${new_key[@]}" -keyout ca.key -out ca.crt.new -days 30 -subj "/CN=ovpn-warden test CA" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
  mv ca.crt.new ca.crt # moved last: a half-made file never looks finished
fi

issue() { # NAME USAGE EXTRA-EXTENSION-LINES
  [[ ! -s "$1.crt" ]] || return 0
  openssl req "${new_key[@]}" -keyout "$1.key" -out "$1.csr" -subj "/CN=$1" 2>/dev/null
  printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=%s\n%s\n' \
    "$2" "$3" >"$1.ext"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -set_serial "0x$(openssl rand -hex 12)" \
    -days 30 -extfile "$1.ext" -out "$1.crt.new" 2>/dev/null
  rm "$1.csr" "$1.ext"
  mv "$1.crt.new" "$1.crt"
}

issue server serverAuth "subjectAltName=DNS:localhost,DNS:server,IP:127.0.0.1"
for client in "${clients[@]}"; do issue "$client" clientAuth ""; done

if [[ ! -s tls-crypt.key ]]; then
  # The same as `openvpn --genkey tls-crypt`, without needing openvpn: 2048 random bits in hex.
  { echo "-----BEGIN OpenVPN Static key V1-----"
    openssl rand -hex 256 | fold -w 32
    echo "-----END OpenVPN Static key V1-----"
  } >tls-crypt.new
  mv tls-crypt.new tls-crypt.key
fi
