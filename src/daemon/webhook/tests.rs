//! The queue and its sender against a scripted receiver.

use super::*;
use crate::{
    config::WEBHOOK_EVENTS,
    telemetry::events::ClientRef,
    types::{Cid, DenyReason},
};
use serde_json::Value;

/// Answers by a script, then takes everything.
#[derive(Clone, Default)]
struct Receiver {
    script: Arc<Mutex<VecDeque<Fault>>>,
    asked: Arc<Mutex<Vec<u64>>>,
    took: Arc<Mutex<Vec<u64>>>,
    is_silent: bool,
}

fn port(notice: &Notice) -> u64 {
    let body: Value = serde_json::from_slice(&notice.body).unwrap();
    body["client_port"].as_u64().unwrap()
}

impl Deliver for Receiver {
    async fn deliver(&self, notice: &Notice, _: Timestamp) -> Result<(), Fault> {
        self.asked.lock().unwrap().push(port(notice));
        if self.is_silent {
            std::future::pending::<()>().await;
        }
        if let Some(fault) = self.script.lock().unwrap().pop_front() {
            return Err(fault);
        }
        self.took.lock().unwrap().push(port(notice));
        Ok(())
    }
}

fn denied(number: u16) -> Event {
    Event::AuthDenied {
        server: "udp".parse().unwrap(),
        client: ClientRef {
            cid: Cid(7),
            kid: None,
            user: Some("al\"ice\u{1}".into()),
            common_name: None,
            device: None,
            client_ip: None,
            client_port: Some(number),
        },
        reauth: false,
        latency: Duration::ZERO,
        session_id: None,
        deadline: None,
        reason: DenyReason::BadCredentials,
    }
}

fn webhook(limit: usize) -> Arc<Webhook> {
    Arc::new(Webhook::new(WEBHOOK_EVENTS.to_vec(), limit, Clock::new()))
}

impl Receiver {
    fn that_says(faults: impl IntoIterator<Item = Fault>) -> Self {
        let receiver = Self::default();
        receiver.script.lock().unwrap().extend(faults);
        receiver
    }

    fn took(&self) -> Vec<u64> {
        self.took.lock().unwrap().clone()
    }
}

/// Sends for so long (of virtual time), then stops.
async fn run(webhook: &Arc<Webhook>, receiver: &Receiver, time: Duration) {
    let stop = CancellationToken::new();
    let sender = Sender::new(Arc::clone(webhook), receiver.clone());
    let task = tokio::spawn(sender.run(stop.clone()));
    sleep(time).await;
    stop.cancel();
    task.await.unwrap();
}

#[test]
fn a_notice_is_json_with_the_names_of_the_log_and_only_chosen_events_are_told() {
    let webhook = Webhook::new(vec!["auth.denied"], 10, Clock::new());
    webhook.offer(&denied(1));
    webhook.offer(&Event::StoreUp { pending: 0 });
    let queue = webhook.queue();
    assert_eq!(queue.waiting.len(), 1);
    let body: Value = serde_json::from_slice(&queue.waiting[0].body).unwrap();
    assert_eq!(body["event"], "auth.denied");
    assert_eq!(body["user"], "al\"ice\u{1}");
    assert_eq!(body["reason"], "bad_credentials");
    assert_eq!(body["temporary"], false);
    assert!(body.get("device").is_none() && body["id"].as_str().unwrap().len() == 36);
    drop(queue);
    let none = Webhook::new(vec!["session.opened"], 10, Clock::new());
    none.offer(&denied(1));
    assert!(none.first().is_none());
}

#[test]
fn a_full_queue_drops_its_oldest_and_counts_them() {
    let webhook = webhook(3);
    for number in 0..5 {
        webhook.offer(&denied(number));
    }
    let queue = webhook.queue();
    assert_eq!(queue.waiting.iter().map(|n| port(n)).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(queue.dropped, 2);
}

#[tokio::test(start_paused = true)]
async fn notices_come_in_order_however_often_the_receiver_is_away() {
    let webhook = webhook(10);
    (0..3).for_each(|number| webhook.offer(&denied(number)));
    let away = Fault::Unreachable("connection refused".into());
    let receiver = Receiver::that_says(vec![away; 30]);
    run(&webhook, &receiver, Duration::from_secs(30 * 60)).await;
    assert_eq!(receiver.took(), [0, 1, 2]);
    assert_eq!(receiver.asked.lock().unwrap().len(), 33);
    assert_eq!(webhook.queue().dropped, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_given_up_at_once_and_what_fails_after_ten_times() {
    let webhook = webhook(10);
    (0..3).for_each(|number| webhook.offer(&denied(number)));
    let mut script = vec![Fault::Refused("404".into())];
    script.extend(vec![Fault::Failing("503".into()); 10]);
    let receiver = Receiver::that_says(script);
    run(&webhook, &receiver, Duration::from_secs(30 * 60)).await;
    assert_eq!(receiver.took(), [2]);
    assert_eq!(receiver.asked.lock().unwrap()[..3], [0, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_receiver_does_not_hold_up_the_end() {
    let webhook = webhook(10);
    webhook.offer(&denied(1));
    let receiver = Receiver { is_silent: true, ..Receiver::default() };
    let end = run(&webhook, &receiver, Duration::from_secs(1));
    timeout(Duration::from_secs(4), end).await.unwrap();
    assert!(receiver.took().is_empty());
}
