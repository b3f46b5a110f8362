//! `user totp`: setting up a second factor, and taking it away.

use clap::Args;
use qrcode::{QrCode, render::unicode::Dense1x2};
use serde::Serialize;
use zeroize::Zeroizing;

use super::existing;
use crate::{
    auth::second_factor::totp::{self, RECOVERY_CODES},
    cli::{Desk, exit::CliError},
    store::{NewSecondFactor, StoreError, UserRecord},
    types::Username,
};

/// Arguments of `user totp`.
#[derive(Debug, Args)]
pub struct TotpArgs {
    /// Login name
    name: Username,
    /// Make a new one in place of the one that the user has
    #[arg(long)]
    replace: bool,
    /// What the authenticator app shows beside the login name
    #[arg(long, value_name = "TEXT", default_value = "ovpn-warden", value_parser = issuer)]
    issuer: String,
    /// Only make new recovery codes; those that are left are void
    #[arg(long, conflicts_with_all = ["replace", "issuer"])]
    recovery_codes: bool,
    /// Take the second factor away, with its recovery codes
    #[arg(long, conflicts_with_all = ["replace", "issuer", "recovery_codes"])]
    disable: bool,
}

/// A QR code holds only so much.
fn issuer(text: &str) -> Result<String, String> {
    match text.len() {
        1..=64 if !text.chars().any(char::is_control) => Ok(text.to_owned()),
        _ => Err("use 1 to 64 bytes without control characters".into()),
    }
}

pub async fn execute(desk: &mut Desk, args: TotpArgs) -> Result<(), CliError> {
    let user = existing(desk, &args.name).await?;
    if args.disable {
        let removed = desk.store.remove_second_factor(&user.name, &desk.actor()).await;
        removed.map_err(|error| advise(error, &user.name))?;
        let message = format!("user `{}` has no second factor any more", user.name);
        desk.out.done(&message, &Disabled { user: user.name.to_string(), second_factor: false })
    } else if args.recovery_codes {
        let (shown, digests) = recovery_codes(&user);
        let put = desk.store.put_recovery_codes(&user.name, &digests, &desk.actor()).await;
        put.map_err(|error| advise(error, &user.name))?;
        let view = Enrolled {
            user: user.name.to_string(),
            secret: None,
            uri: None,
            recovery_codes: shown,
        };
        show(desk, &view)
    } else {
        enrol(desk, &user, &args).await
    }
}

async fn enrol(desk: &mut Desk, user: &UserRecord, args: &TotpArgs) -> Result<(), CliError> {
    let secret = totp::new_secret(rand::random());
    let uri = totp::uri(&secret, &user.name, &args.issuer)
        .map_err(|error| CliError::failed(format!("making the address for the app: {error}")))?;
    let (shown, digests) = recovery_codes(user);
    let factor =
        NewSecondFactor { secret: secret.clone(), recovery_codes: digests, replace: args.replace };
    let put = desk.store.put_second_factor(&user.name, &factor, &desk.actor()).await;
    put.map_err(|error| advise(error, &user.name))?;
    let secret = Zeroizing::new(String::from_utf8_lossy(secret.expose()).into_owned());
    let view = Enrolled {
        user: user.name.to_string(),
        secret: Some(secret),
        uri: Some(uri),
        recovery_codes: shown,
    };
    show(desk, &view)
}

fn advise(error: StoreError, name: &Username) -> CliError {
    match error {
        StoreError::Exists(_) => {
            CliError::failed(format!("user `{name}` has a second factor already")).or_next(
                "`--replace` makes a new one and voids the old, `--recovery-codes` makes new \
                 recovery codes, `--disable` takes it away",
            )
        }
        StoreError::NotFound(_) => CliError::failed(format!("user `{name}` has no second factor"))
            .or_next(format!("`ovpn-warden user totp {name}` sets one up")),
        error @ (StoreError::Url(_)
        | StoreError::Unavailable(_)
        | StoreError::Refused(_)
        | StoreError::Schema(_)
        | StoreError::Corrupt(_)
        | StoreError::InUse(_)
        | StoreError::Ended) => CliError::from(error),
    }
}

fn recovery_codes(user: &UserRecord) -> (Vec<Zeroizing<String>>, Vec<String>) {
    (0..RECOVERY_CODES).map(|_| totp::recovery_code(user.id, rand::random())).unzip()
}

/// What is shown once, and never again.
#[derive(Serialize)]
struct Enrolled {
    user: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<Zeroizing<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<Zeroizing<String>>,
    recovery_codes: Vec<Zeroizing<String>>,
}

#[derive(Serialize)]
struct Disabled {
    user: String,
    second_factor: bool,
}

fn show(desk: &mut Desk, view: &Enrolled) -> Result<(), CliError> {
    if desk.out.is_json() {
        return desk.out.json(view);
    }
    if let (Some(uri), Some(secret)) = (&view.uri, &view.secret) {
        desk.out.line(&format!(
            "second factor of `{}`; scan this with an authenticator app:",
            view.user
        ))?;
        for line in qr(uri)?.lines() {
            desk.out.line(line)?;
        }
        desk.out.line(uri)?;
        desk.out.line(&format!("or type the key: {}", **secret))?;
        desk.out.line("")?;
    }
    desk.out.line("recovery codes, each good for one login; keep them apart from the phone:")?;
    for code in &view.recovery_codes {
        desk.out.line(&format!("    {}", **code))?;
    }
    desk.out.line("none of this is shown again")
}

/// For a terminal that writes light on dark, as most do, with the margin that scanners need.
fn qr(text: &str) -> Result<Zeroizing<String>, CliError> {
    let code = QrCode::new(text.as_bytes())
        .map_err(|error| CliError::failed(format!("making the QR code: {error}")))?;
    // The names are of paper: on a terminal, a "dark" module is printed in the light colour.
    let image =
        code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    Ok(Zeroizing::new(image))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_address_still_makes_a_code() {
        let secret = totp::new_secret([255; totp::SECRET_BYTES]);
        let user = "é".repeat(Username::MAX_LEN / 2).parse().unwrap();
        let uri = totp::uri(&secret, &user, &"ü".repeat(32)).unwrap();
        let image = qr(&uri).unwrap();
        let width = image.lines().next().unwrap().chars().count();
        assert!(image.lines().all(|line| line.chars().count() == width) && width > 40);
    }

    #[test]
    fn a_short_address_fits_a_terminal_of_80_columns() {
        let uri = totp::uri(&totp::new_secret([1; 20]), &"alice".parse().unwrap(), "ovpn-warden");
        let image = qr(&uri.unwrap()).unwrap();
        assert!(image.lines().all(|line| line.chars().count() <= 80) && image.contains('█'));
    }

    #[test]
    fn an_issuer_is_short_and_plain() {
        assert!(issuer("Example VPN").is_ok());
        assert!(issuer("").is_err() && issuer("a\nb").is_err() && issuer(&"x".repeat(65)).is_err());
    }
}
