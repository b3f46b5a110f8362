#!/usr/bin/env bash
# mysql.sh fetch : a real Oracle MySQL, server and client; prints its folder with `mysqld` and `mysql`.
# Debian 12 has only MariaDB. MySQL itself is in Debian's sid suite, and runs from an unpacked folder.
set -euo pipefail
[[ "${1:-}" == fetch ]] || { echo "usage: mysql.sh fetch" >&2; exit 1; }
exec "$(dirname "${BASH_SOURCE[0]}")/suite.sh" sid mysql "mysql-server-core mysql-client-core" "usr/sbin/mysqld usr/bin/mysql"
