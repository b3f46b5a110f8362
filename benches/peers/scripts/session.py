#!/usr/bin/python3
"""client-connect and client-disconnect: the session's row, and a process in the background for its limit."""
import json, os, subprocess, sys

import pymysql

settings = json.load(open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "settings.json")))
name, address = os.environ.get("username", ""), os.environ.get("ifconfig_pool_remote_ip", "")

with pymysql.connect(**settings, autocommit=True) as connection, connection.cursor() as cursor:
    if os.environ.get("script_type") == "client-connect":
        cursor.execute("INSERT INTO script_sessions (user, vpn_ip, started) VALUES (%s, %s, NOW())", (name, address))
        # Where the script ends the session: a timer that outlives it.
        subprocess.Popen(["sleep", "36000"], start_new_session=True, stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    else:
        cursor.execute("UPDATE script_sessions SET ended = NOW(), bytes = %s WHERE user = %s AND ended IS NULL",
                       (os.environ.get("bytes_received", 0), name))
sys.exit(0)
