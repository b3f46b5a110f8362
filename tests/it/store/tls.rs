//! TLS to MySQL, which makes its own authority; MariaDB has none until it is given one.

use std::sync::Arc;

use ovpn_warden::store::StoreError;

use super::{
    bed::{Backend, Bed, store},
    proxy::Proxy,
    servers::{port, with_hosts},
};

/// An authority that signed nothing.
const OTHER_CA: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBrjCCAVOgAwIBAgIUWUWlbo8bMtkthH2x1R9SXKg6A/owCgYIKoZIzj0EAwIw\n\
KzEpMCcGA1UEAwwgQW4gYXV0aG9yaXR5IHRoYXQgc2lnbmVkIG5vdGhpbmcwIBcN\n\
MjYxMTIzMTM1ODE5WhgPMjEyNjEwMzAxMzU4MTlaMCsxKTAnBgNVBAMMIEFuIGF1\n\
dGhvcml0eSB0aGF0IHNpZ25lZCBub3RoaW5nMFkwEwYHKoZIzj0CAQYIKoZIzj0D\n\
AQcDQgAEWUgdxNQgmTrtwSAffFlyw/DsT+AJN30yS0zzabRuW4tVcVwt9Gve111B\n\
hiEX5xe9td0+s4Xs1d9p7BZWmdk2VKNTMFEwHQYDVR0OBBYEFJcSMnXoCP1PZkz/\n\
vWZgtQmH+IHiMB8GA1UdIwQYMBaAFJcSMnXoCP1PZkz/vWZgtQmH+IHiMA8GA1Ud\n\
EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhAKUFo1ilpj4Z4iKMn49K+pOk\n\
fyjIvzIfiY71iu9iVEcFAiEA0uLHRve6SysF3/KiWL0yE/etb2P8jMekxj+l4q3l\n\
b58=\n\
-----END CERTIFICATE-----";

fn ca() -> String {
    std::env::var("WARDEN_TEST_MYSQL_CA")
        .unwrap_or_else(|_| panic!("WARDEN_TEST_MYSQL_CA is not set: run `make test`"))
}

/// Whether what a client sent goes on as TLS after the 36 bytes that ask for it.
fn is_encrypted(sent: &[u8]) -> bool {
    sent.get(36..38) == Some(&[0x16, 0x03])
}

async fn connect(bed: &Bed, parameters: &str) -> (Result<(), StoreError>, Vec<u8>) {
    let proxy = Proxy::start(port(&bed.url)).await;
    let url = with_hosts(&bed.url, &format!("127.0.0.1:{}", proxy.port));
    let answer = store(&format!("{url}{parameters}")).ping().await;
    (answer, proxy.sent())
}

#[tokio::test]
async fn a_server_of_the_named_authority_is_talked_to_in_secret() {
    super::bed::with(Backend::MySql, async |bed: Arc<Bed>| {
        for parameters in [
            format!("?ssl-mode=VERIFY_CA&ssl-ca={}", ca()),
            format!("?ssl-ca={}", ca()),
            "?ssl-mode=REQUIRED".into(),
            String::new(),
        ] {
            let (answer, sent) = connect(&bed, &parameters).await;
            assert_eq!(answer, Ok(()), "{parameters}");
            assert!(is_encrypted(&sent), "{parameters}");
        }
        let (answer, sent) = connect(&bed, "?ssl-mode=DISABLED").await;
        assert_eq!(answer, Ok(()));
        assert!(!is_encrypted(&sent), "this test can tell");
    })
    .await;
}

#[tokio::test]
async fn a_server_of_another_authority_or_name_is_refused() {
    super::bed::with(Backend::MySql, async |bed: Arc<Bed>| {
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("other.pem");
        std::fs::write(&other, OTHER_CA).unwrap();
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "no certificate").unwrap();
        let (other, empty) = (other.display().to_string(), empty.display().to_string());
        let not_its = format!("ssl-ca: {other} is not the certificate of its authority");
        let none = format!("ssl-ca: {empty} holds no certificate in PEM form");
        for (parameters, why) in [
            (format!("?ssl-mode=VERIFY_CA&ssl-ca={other}"), not_its.as_str()),
            (format!("?ssl-mode=VERIFY_CA&ssl-ca={empty}"), &none),
            (format!("?ssl-mode=VERIFY_IDENTITY&ssl-ca={}", ca()), "not valid for"),
            (
                "?ssl-mode=VERIFY_IDENTITY".into(),
                "ssl-ca in database.url has to name the certificate of its authority",
            ),
            (
                "?ssl-mode=VERIFY_CA&ssl-ca=/nowhere/ca.pem".into(),
                "ssl-ca: cannot read /nowhere/ca.pem: No such file",
            ),
            (
                format!("?ssl-ca={}&ssl-cert={other}&ssl-key=/nowhere/key", ca()),
                "ssl-key: cannot read /nowhere/key: No such file",
            ),
        ] {
            let (answer, sent) = connect(&bed, &parameters).await;
            let Err(StoreError::Unavailable(text)) = answer else {
                panic!("{parameters}: {answer:?}")
            };
            assert!(text.contains(why), "{parameters}: {text}");
            let password = sent.windows(6).any(|window| window == b"warden");
            assert!(!password, "nothing is said to a stranger");
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_required() {
    super::bed::with(Backend::MariaDb, async |bed: Arc<Bed>| {
        let (plain, _) = connect(&bed, "").await;
        assert_eq!(plain, Ok(()));
        let (required, sent) = connect(&bed, "?ssl-mode=REQUIRED").await;
        // Newer ones make themselves a certificate.
        if !is_encrypted(&sent) {
            assert!(matches!(required, Err(StoreError::Unavailable(_))), "{required:?}");
            assert!(sent.is_empty());
        }
    })
    .await;
}
