//! The files that are to judge a server's certificate and to show ours: which of them a connection failed for.

use std::{
    io::ErrorKind::{IsADirectory, NotFound, PermissionDenied},
    path::{Path, PathBuf},
};

use rustls::{
    CertificateError, Error,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::store::url::MySqlUrl;

const CA: &str = "ssl-ca";
const KEY: &str = "ssl-key";
/// What is not there for a daemon under the unit, by its `ProtectHome` and `PrivateTmp`.
const HIDDEN: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];
const OF_UNIT: &str = "; the unit keeps /home, /root and /tmp from it";

/// Opens it, and reads nothing: it may be a key.
async fn is_readable(path: &Path) -> std::io::Result<()> {
    match tokio::fs::metadata(path).await? {
        file if file.is_file() => tokio::fs::File::open(path).await.map(drop),
        _ => Err(IsADirectory.into()),
    }
}

/// Those that a URL names, by their parameters.
pub struct Files(Vec<(&'static str, PathBuf)>);

impl Files {
    pub fn of(url: &MySqlUrl) -> Self {
        let named = [(CA, &url.ssl_ca), ("ssl-cert", &url.ssl_cert), (KEY, &url.ssl_key)];
        let named = named.map(|(key, file)| Some((key, PathBuf::from(file.as_ref()?))));
        Self(named.into_iter().flatten().collect())
    }

    /// What a failed connection has to do with them, if anything: the driver says neither which file, nor what is missing.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the driver's errors may grow")]
    pub async fn blame(&self, error: &sqlx::Error) -> Option<String> {
        let error = match error {
            sqlx::Error::Io(error) => error,
            // So it tells of a key without the name of its file, and of nothing else here.
            sqlx::Error::Configuration(error) => {
                let key = self.named(KEY)?.display();
                return Some(format!("{KEY}: {key}: {error}"));
            }
            _ => return None,
        };
        let of_tls = error.get_ref().and_then(|error| error.downcast_ref());
        if let Some(Error::InvalidCertificate(why)) = of_tls {
            let more = self.of_certificate(why).await?;
            return Some(format!("{error}: {more}"));
        }
        if !matches!(error.kind(), NotFound | PermissionDenied | IsADirectory) {
            return None;
        }
        for (key, path) in &self.0 {
            if let Err(error) = is_readable(path).await {
                let is_hidden = HIDDEN.iter().any(|folder| path.starts_with(folder));
                let hidden = if is_hidden { OF_UNIT } else { "" };
                return Some(format!("{key}: cannot read {}: {error}{hidden}", path.display()));
            }
        }
        None
    }

    /// What more there is to say of a certificate that was refused.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others say it themselves")]
    async fn of_certificate(&self, why: &CertificateError) -> Option<String> {
        Some(match why {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                self.authority().await
            }
            CertificateError::Other(other) => match format!("{other:?}").as_str() {
                // What MySQL's and MariaDB's own instructions make.
                text if text.contains("UnsupportedCertVersion") => {
                    "it is of X.509 version 1, without the host's name; make one with a subjectAltName".into()
                }
                text if text.contains("CaUsedAsEndEntity") => {
                    "it is an authority's own; let it sign one for the host".into()
                }
                _ => return None,
            },
            _ => return None,
        })
    }

    /// What to say of the authority that is trusted.
    async fn authority(&self) -> String {
        let Some(path) = self.named(CA) else {
            return format!("{CA} in database.url has to name the certificate of its authority");
        };
        let text = tokio::fs::read(path).await.unwrap_or_default();
        let path = path.display();
        if CertificateDer::pem_slice_iter(&text).next().is_none() {
            format!("{CA}: {path} holds no certificate in PEM form")
        } else {
            format!("{CA}: {path} is not the certificate of its authority")
        }
    }

    fn named(&self, wanted: &str) -> Option<&Path> {
        self.0.iter().find(|(key, _)| *key == wanted).map(|(_, path)| path.as_path())
    }
}
