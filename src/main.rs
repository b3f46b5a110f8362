//! The `ovpn-warden` binary: arguments in, exit code out.

fn main() {}
