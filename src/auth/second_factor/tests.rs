use super::*;
use crate::{
    auth::{request::Claimed, token::Token},
    store::{ClientConfig, PolicyRecord, UserRecord},
    types::{Password, Timestamp},
};

use SecondFactorMode::{Off, Optional, Required};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const BEFORE: Timestamp = Timestamp::from_secs(1_799_999_999);

fn request(kind: RequestKind) -> AuthRequest {
    AuthRequest {
        holds: None,
        proven: None,
        is_other: false,
        server: "udp".parse().unwrap(),
        kind,
        user: Claimed::Valid("alice".parse().unwrap()),
        password: Some(Password::from(&b"pw"[..])),
        token: None,
        response: Default::default(),
        common_name: None,
        device: Ok(None),
        certificate: None,
        client_ip: None,
    }
}

fn facts(is_enrolled: bool, policy: Option<SecondFactorMode>) -> Facts {
    Facts {
        user: UserRecord {
            id: 1,
            name: "alice".parse().unwrap(),
            password_hash: None,
            policy: "default".into(),
            enabled: true,
            valid_from: None,
            valid_until: None,
            password_changed_at: None,
            created_at: NOW,
            updated_at: NOW,
        },
        policy: PolicyRecord { second_factor: policy, ..PolicyRecord::default() },
        device: None,
        certificate: None,
        ends: Default::default(),
        devices: 0,
        enrolment_until: None,
        expired_at: None,
        config: ClientConfig::default(),
        second_factor: is_enrolled.then(|| SecondFactor {
            secret: Password::from(&b"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"[..]),
            last_step: None,
            enrolled_at: NOW,
        }),
    }
}

fn word(demand: Demand<'_>) -> &'static str {
    match demand {
        Demand::Nothing => "nothing",
        Demand::Enrolment => "enrolment",
        Demand::Code(_) => "code",
    }
}

#[test]
fn the_policy_says_of_whom_a_code_is_asked_and_the_configuration_where_it_does_not() {
    for (default, policy, is_enrolled, expected) in [
        (Off, None, false, "nothing"),
        (Off, None, true, "nothing"),
        (Optional, None, false, "nothing"),
        (Optional, None, true, "code"),
        (Required, None, false, "enrolment"),
        (Required, None, true, "code"),
        (Off, Some(Optional), true, "code"),
        (Off, Some(Required), false, "enrolment"),
        (Optional, Some(Off), true, "nothing"),
        (Optional, Some(Required), false, "enrolment"),
        (Required, Some(Off), false, "nothing"),
        (Required, Some(Optional), false, "nothing"),
    ] {
        let facts = facts(is_enrolled, policy);
        let found = word(demand(&request(RequestKind::Connect), &facts, default));
        assert_eq!(found, expected, "{default} {policy:?} {is_enrolled}");
    }
}

#[test]
fn a_session_that_runs_is_asked_only_if_it_sends_something_else_than_what_let_it_in() {
    for kind in [
        RequestKind::Reauth { connected_since: BEFORE, is_extended: false },
        RequestKind::Adopt { connected_since: BEFORE },
    ] {
        for is_enrolled in [true, false] {
            let facts = facts(is_enrolled, Some(Required));
            assert_eq!(demand(&request(kind), &facts, Required), Demand::Nothing);
            let other = AuthRequest { is_other: true, ..request(kind) };
            let is_asked = is_enrolled && matches!(kind, RequestKind::Reauth { .. });
            let expected = if is_asked { "code" } else { "nothing" };
            assert_eq!(word(demand(&other, &facts, Required)), expected, "{kind:?}");
        }
    }
}

#[test]
fn a_token_stands_for_the_second_factor_that_was_there_when_it_was_made() {
    let facts = facts(true, None);
    for (is_valid, first_login, expected) in [
        (true, Some(NOW), "nothing"),
        (true, Some(BEFORE), "code"),
        (true, None, "code"),
        (false, Some(NOW), "code"),
    ] {
        let token = Some(Token { is_valid, first_login });
        let request = AuthRequest { password: None, token, ..request(RequestKind::Connect) };
        assert_eq!(word(demand(&request, &facts, Optional)), expected, "{token:?}");
    }
}

#[test]
fn what_came_of_it_has_its_reason() {
    let table = [
        (FactorCheck::NotNeeded, None, None),
        (FactorCheck::Right(Factor::Totp), None, Some(Factor::Totp)),
        (FactorCheck::Right(Factor::RecoveryCode), None, Some(Factor::RecoveryCode)),
        (FactorCheck::Missing, Some(DenyReason::SecondFactorRequired), None),
        (FactorCheck::NotEnrolled, Some(DenyReason::SecondFactorRequired), None),
        (FactorCheck::Wrong, Some(DenyReason::BadSecondFactor), None),
        (FactorCheck::Used, Some(DenyReason::BadSecondFactor), None),
    ];
    for (check, refuses, factor) in table {
        assert_eq!((check.refuses(), check.factor()), (refuses, factor), "{check:?}");
    }
}

#[test]
fn a_secret_is_not_shown() {
    let shown = format!("{:?}", facts(true, None));
    assert!(!shown.contains("GEZDG"), "{shown}");
}
