#!/usr/bin/env bash
# mysql.sh fetch : a real Oracle MySQL, server and client; prints its folder with `mysqld`, `mysql` and `mysqldump`.
# Debian 12 has only MariaDB. MySQL itself is in Debian's sid suite, and runs from an unpacked folder.
set -euo pipefail
[[ "${1:-}" == fetch ]] || { echo "usage: mysql.sh fetch" >&2; exit 1; }
root=$("$(dirname "${BASH_SOURCE[0]}")/suite.sh" sid mysql "mysql-server-core mysql-client-core" "usr/sbin/mysqld usr/bin/mysql")
if [[ ! -x "$root/mysqldump" ]]; then # it came later than the others
  sed 's|/usr/bin/mysql |/usr/bin/mysqldump |' "$root/mysql" >"$root/mysqldump.$$"
  chmod 755 "$root/mysqldump.$$"
  mv "$root/mysqldump.$$" "$root/mysqldump"
fi
echo "$root"
