#!/usr/bin/python3
"""auth-user-pass-verify … via-env, as many sites have it: password and device against MySQL, exit 0 or 1."""
import json, os, sys

import pymysql
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

settings = json.load(open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "settings.json")))
name, password = os.environ.get("username", ""), os.environ.get("password", "")
device = (os.environ.get("UV_CLIENT_MAC") or os.environ.get("IV_HWADDR") or "").lower()

with pymysql.connect(**settings) as connection, connection.cursor() as cursor:
    cursor.execute("SELECT id, password_hash FROM script_users WHERE name = %s AND enabled", (name,))
    user = cursor.fetchone()
    if not user:
        sys.exit(1)
    try:
        PasswordHasher().verify(user[1], password)
    except VerifyMismatchError:
        sys.exit(1)
    cursor.execute("SELECT 1 FROM script_devices WHERE user_id = %s AND mac = %s", (user[0], device))
    sys.exit(0 if cursor.fetchone() else 1)
