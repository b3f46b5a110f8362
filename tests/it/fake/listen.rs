//! `listen://`: OpenVPN dials in.

use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpSocket;

use super::*;

/// Free, most likely: asked for and given back.
fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A daemon for two servers that dial in to one address.
async fn bed_of_two(passwords: [Option<&str>; 2], peers: [Option<&str>; 2]) -> (Bed, SocketAddr) {
    let address = free_address();
    let mut bed = Bed::at(Endpoint::Listen(address), passwords[0]).await;
    let mut second = bed.config.servers[0].clone();
    second.name = "tcp".parse().unwrap();
    second.password = passwords[1].map(|p| Password::from(p.as_bytes()));
    bed.config.servers.push(second);
    for (server, peer) in bed.config.servers.iter_mut().zip(peers) {
        server.peer = peer.map(|peer| peer.parse().unwrap());
    }
    (bed, address)
}

/// OpenVPN dials the daemon, from this address.
async fn dial(to: SocketAddr, from: &str) -> Controller {
    let from = SocketAddr::new(from.parse::<IpAddr>().unwrap(), 0);
    for _ in 0..200 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(from).unwrap();
        if let Ok(stream) = socket.connect(to).await {
            let (read, write) = stream.into_split();
            return Controller::new(read, write);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the daemon does not listen on {to}");
}

/// Lets alice in as this client, and tells which server's session that is.
async fn server_of(bed: &Bed, controller: &mut Controller, cid: u32) -> String {
    controller.connect(cid, "alice", "correct horse", Some(MAC)).await;
    controller.expect(&format!("client-auth {cid} 1")).await;
    controller.line().await;
    controller.expect("END").await;
    controller.establish(cid).await;
    for _ in 0..200 {
        if let Some(session) = bed.sessions().await.iter().find(|s| s.cid.0 == cid) {
            return session.server.to_string();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no session of client {cid}");
}

/// OpenVPN asks for its password until it is right.
async fn ask_password(controller: &mut Controller, right: &str) -> usize {
    for attempt in 1..=3 {
        controller.say("ENTER PASSWORD:").await;
        if controller.line().await == right {
            controller.say("SUCCESS: password is correct\n").await;
            return attempt;
        }
    }
    panic!("no password was right");
}

#[tokio::test]
async fn servers_on_one_address_are_told_apart_by_their_passwords() {
    let (bed, address) = bed_of_two([Some("first"), Some("second")], [None, None]).await;
    let daemon = bed.start();
    let mut second = dial(address, "127.0.0.1").await;
    assert_eq!(ask_password(&mut second, "second").await, 2);
    second.attach(RUN, &[]).await;
    let mut first = dial(address, "127.0.0.1").await;
    assert_eq!(ask_password(&mut first, "first").await, 1);
    first.attach(RUN, &[]).await;
    assert_eq!(server_of(&bed, &mut second, 1).await, "tcp");
    assert_eq!(server_of(&bed, &mut first, 2).await, "udp");
    daemon.stop().await;
}

#[tokio::test]
async fn servers_on_one_address_are_told_apart_by_where_they_dial_from() {
    let (bed, address) = bed_of_two([None, None], [Some("127.0.0.2"), Some("127.0.0.3")]).await;
    let daemon = bed.start();
    let mut second = dial(address, "127.0.0.3").await;
    second.attach(RUN, &[]).await;
    let mut first = dial(address, "127.0.0.2").await;
    first.attach(RUN, &[]).await;
    let mut stranger = dial(address, "127.0.0.4").await;
    assert!(stranger.is_closed().await, "nobody dials in from there");
    assert_eq!(server_of(&bed, &mut second, 1).await, "tcp");
    assert_eq!(server_of(&bed, &mut first, 2).await, "udp");
    daemon.stop().await;
}

#[tokio::test]
async fn a_stranger_that_accepts_no_password_is_refused() {
    let (bed, address) = bed_of_two([Some("first"), Some("second")], [None, None]).await;
    let daemon = bed.start();
    let mut stranger = dial(address, "127.0.0.1").await;
    stranger.say("ENTER PASSWORD:").await;
    stranger.expect("first").await;
    stranger.say("ENTER PASSWORD:").await;
    stranger.expect("second").await;
    stranger.say("ENTER PASSWORD:").await;
    assert!(stranger.is_closed().await);
    let mut babbler = dial(address, "127.0.0.1").await;
    babbler.say(&"x".repeat(4_000)).await;
    assert!(babbler.is_closed().await);
    daemon.stop().await;
}

#[tokio::test]
async fn an_openvpn_that_dials_in_anew_takes_the_place_of_its_dead_connection() {
    for is_told in [true, false] {
        let address = free_address();
        let bed = Bed::at(Endpoint::Listen(address), Some("secret")).await;
        let daemon = bed.start();
        let mut old = dial(address, "127.0.0.1").await;
        assert_eq!(ask_password(&mut old, "secret").await, 1);
        old.attach(RUN, &[]).await;
        assert_eq!(server_of(&bed, &mut old, 7).await, "udp");
        let mut new = dial(address, "127.0.0.1").await;
        new.say("ENTER PASSWORD:").await;
        // The process is gone; or its machine is, and nobody says so.
        let old = if is_told { None } else { Some(old) };
        let password = new.line_within(Duration::from_secs(15)).await;
        assert_eq!(password.as_deref(), Some("secret"), "told: {is_told}");
        new.say("SUCCESS: password is correct\n").await;
        new.attach(RUN, &[client_row(7, "alice", "10.8.0.6")]).await;
        new.disconnect(7).await;
        let session = bed.session(|s| s.state == SessionState::Closed).await;
        assert_eq!(session.bytes_received, 4_000, "the session went on");
        drop(old);
        daemon.stop().await;
    }
}

#[tokio::test]
async fn a_stranger_does_not_take_the_place_of_a_server_that_is_connected() {
    let address = free_address();
    let bed = Bed::at(Endpoint::Listen(address), Some("secret")).await;
    let daemon = bed.start();
    let mut server = dial(address, "127.0.0.1").await;
    assert_eq!(ask_password(&mut server, "secret").await, 1);
    server.attach(RUN, &[]).await;
    // A port scan; something that is no OpenVPN; somebody who would like to hear the password.
    drop(dial(address, "127.0.0.1").await);
    let mut web = dial(address, "127.0.0.1").await;
    web.say("GET / HTTP/1.1\n").await;
    let mut thief = dial(address, "127.0.0.1").await;
    thief.say("ENTER PASSWORD:").await;
    server.expect("state").await;
    server.say(&format!("{RUN},CONNECTED,SUCCESS,10.8.0.1,,,,\nEND\n")).await;
    assert!(thief.is_closed().await);
    assert_eq!(server_of(&bed, &mut server, 7).await, "udp");
    daemon.stop().await;
}

#[tokio::test]
async fn a_standby_listens_within_a_second_after_the_first_daemon() {
    let address = free_address();
    let bed = Bed::at(Endpoint::Listen(address), None).await;
    let first = bed.start();
    let mut controller = dial(address, "127.0.0.1").await;
    controller.attach(RUN, &[]).await;
    let standby = bed.start();
    first.stop().await;
    let start = bed.clock.now().mono;
    let mut controller = dial(address, "127.0.0.1").await;
    assert!(bed.clock.now().mono - start < Duration::from_secs(1));
    controller.attach(RUN, &[]).await;
    assert_eq!(server_of(&bed, &mut controller, 1).await, "udp");
    standby.stop().await;
}
