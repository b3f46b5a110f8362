//! One POST: over TLS or in the clear, signed, within a time limit.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{Request, Uri, header};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use sha2::Sha256;

use crate::{
    config,
    types::{Password, Timestamp},
};

use super::{Deliver, Fault, notice::Notice};

/// `t=UNIX SECONDS,v1=HEX`: HMAC-SHA256 with the secret over `SECONDS.BODY`.
const SIGNATURE: &str = "x-ovpn-warden-signature";

pub(in crate::daemon) struct Client {
    client: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    secret: Password,
    timeout: Duration,
}

impl Client {
    /// # Errors
    /// What is wrong with the URL or the file of authorities.
    pub(in crate::daemon) fn new(config: &config::Webhook) -> Result<Self, String> {
        let uri = config.url.expose().try_into().map_err(|_| "webhook.url: it is no URL")?;
        let tls =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?
                .with_root_certificates(roots(config)?)
                .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(1)
            .build(connector.build());
        Ok(Self { client, uri, secret: config.secret.clone(), timeout: config.timeout })
    }

    fn request(&self, notice: &Notice, now: Timestamp) -> Result<Request<Full<Bytes>>, Fault> {
        Request::post(self.uri.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("ovpn-warden/", env!("CARGO_PKG_VERSION")))
            .header(SIGNATURE, signature(&self.secret, now, &notice.body))
            .body(Full::new(Bytes::copy_from_slice(&notice.body)))
            .map_err(|error| Fault::Refused(error.to_string()))
    }
}

impl Deliver for Client {
    async fn deliver(&self, notice: &Notice, now: Timestamp) -> Result<(), Fault> {
        let request = self.request(notice, now)?;
        let answer = tokio::time::timeout(self.timeout, self.client.request(request)).await;
        let response = match answer {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(Fault::Unreachable(chain(&error))),
            Err(_) => {
                let millis = self.timeout.as_millis();
                return Err(Fault::Unreachable(format!("no answer within {millis} ms")));
            }
        };
        let status = response.status();
        let text = || format!("the receiver answers {status}");
        match status.as_u16() {
            200..=299 => Ok(()),
            408 | 425 | 429 | 500..=599 => Err(Fault::Failing(text())),
            _ => Err(Fault::Refused(text())),
        }
    }
}

fn roots(config: &config::Webhook) -> Result<RootCertStore, String> {
    let Some(path) = &config.ca_file else {
        return Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() });
    };
    let bad = |error: String| format!("webhook.ca_file: {}: {error}", path.display());
    let pem = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        roots.add(certificate).map_err(|error| bad(error.to_string()))?;
    }
    match roots.is_empty() {
        true => Err(bad("no certificate is in it".into())),
        false => Ok(roots),
    }
}

fn signature(secret: &Password, now: Timestamp, body: &[u8]) -> String {
    let seconds = now.as_secs().to_string();
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose()) else {
        // HMAC takes a key of any length.
        return String::new();
    };
    mac.update(seconds.as_bytes());
    mac.update(b".");
    mac.update(body);
    let code: String = mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect();
    format!("t={seconds},v1={code}")
}

/// An error with what is behind it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_any_other_program() {
        // printf '1795435003.{"event":"x"}' | openssl dgst -sha256 -hmac secret
        assert_eq!(
            signature(
                &Password::from(&b"secret"[..]),
                Timestamp::from_millis(1_795_435_003_999),
                b"{\"event\":\"x\"}"
            ),
            "t=1795435003,v1=212a53a38781774337f7e640fdeede1cedb40be2b89ebeb5bde23a62eac0f948"
        );
    }
}
