//! The shapes in which a secret may turn up, and the search for them.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

/// Bytes of a shape that are looked for at once: whoever prints a piece of twice that length is found.
const PIECE: usize = 12;

/// What nobody may read, by what it is.
#[derive(Default)]
pub struct Canaries(Vec<(String, Vec<Vec<u8>>)>);

impl Canaries {
    pub fn add(&mut self, name: &str, secret: &str) {
        let pieces = shapes(secret.as_bytes()).iter().flat_map(|shape| pieces(shape)).collect();
        self.0.push((name.to_owned(), pieces));
    }

    /// Names and shapes of the secrets in `bytes`.
    pub fn in_bytes(&self, bytes: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        for (name, pieces) in &self.0 {
            for piece in pieces {
                if let Some(at) = memchr::memmem::find(bytes, piece) {
                    let around = &bytes[at.saturating_sub(80)..bytes.len().min(at + 80)];
                    let shape = String::from_utf8_lossy(piece);
                    let around = String::from_utf8_lossy(around);
                    found.push(format!("{name} as {shape:?} in {around:?}"));
                }
            }
        }
        found
    }
}

fn pieces(shape: &[u8]) -> Vec<Vec<u8>> {
    if shape.len() < 2 * PIECE {
        return vec![shape.to_vec()];
    }
    shape.chunks_exact(PIECE).map(<[u8]>::to_vec).collect()
}

/// As it is; as a quoted, percent-encoded, hexadecimal or base64 text; as a list of numbers.
fn shapes(secret: &[u8]) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(secret);
    let each =
        |encode: &dyn Fn(u8) -> String| secret.iter().map(|b| encode(*b)).collect::<String>();
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let escaped = |b: u8| if is_plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    let listed = |separator: &str| {
        secret.iter().map(u8::to_string).collect::<Vec<_>>().join(separator).into_bytes()
    };
    let mut shapes = vec![
        secret.to_vec(),
        format!("{text:?}").trim_matches('"').as_bytes().to_vec(),
        each(&escaped).into_bytes(),
        each(&escaped).to_lowercase().into_bytes(),
        each(&escaped).replace("%20", "+").into_bytes(),
        each(&|b| format!("%{b:02x}")).into_bytes(),
        each(&|b| format!("%{b:02X}")).into_bytes(),
        each(&|b| format!("{b:02x}")).into_bytes(),
        each(&|b| format!("{b:02X}")).into_bytes(),
        listed(", "),
        listed(","),
    ];
    // In a longer text it may begin at each of the three places of a group.
    for skipped in 0..3 {
        let whole = &secret[skipped..];
        let whole = &whole[..whole.len() / 3 * 3];
        shapes.push(STANDARD_NO_PAD.encode(whole).into_bytes());
        shapes.push(URL_SAFE_NO_PAD.encode(whole).into_bytes());
    }
    shapes.sort();
    shapes.dedup();
    shapes
}

#[test]
fn every_shape_of_a_secret_is_found_and_nothing_else() {
    use base64::engine::general_purpose::STANDARD;

    let secret = "tN5/vb8+Lq2 \"Zs7=Ke4%Wj9";
    let mut canaries = Canaries::default();
    canaries.add("it", secret);
    let hex: String = secret.bytes().map(|b| format!("{b:02x}")).collect();
    let leaks = [
        format!("password {secret} is wrong"),
        format!("{secret:?}"),
        format!("{:?}", secret.as_bytes()),
        serde_json::json!({ "error": secret }).to_string(),
        form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
        hex.to_uppercase(),
        hex,
        STANDARD.encode(secret),
        STANDARD.encode(format!("u:{secret}@host")),
        STANDARD.encode(format!("xy:{secret}")),
        URL_SAFE_NO_PAD.encode(format!("xyz:{secret}")),
        format!("mysql://u:{}@h/d", secret.replace('/', "%2F").replace('+', "%2B")),
        secret[..23].to_owned(),
        secret[1..].to_owned(),
    ];
    for leak in leaks {
        assert!(!canaries.in_bytes(leak.as_bytes()).is_empty(), "{leak}");
    }
    for clean in ["***", "", "tN5/vb8", "password is wrong", &STANDARD.encode("something else")] {
        assert_eq!(canaries.in_bytes(clean.as_bytes()), Vec::<String>::new());
    }
}
