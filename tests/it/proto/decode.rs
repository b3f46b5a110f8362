//! `decode` as a user sees it.

use std::io::{self, Read, Write};

use ovpn_warden::cli::decode::decode;

use super::{cases, data, decode_to, decoded, files, options};

/// Every byte sequence of the test data, recordings with their prefixes.
fn inputs() -> Vec<(String, Vec<u8>)> {
    let mut inputs: Vec<(String, Vec<u8>)> =
        cases::all().into_iter().map(|case| (case.name, case.input)).collect();
    for folder in ["conformance", "transcripts"] {
        for name in files(folder, "") {
            let bytes = data(&format!("{folder}/{name}"));
            inputs.push((name, bytes));
        }
    }
    inputs
}

#[test]
fn every_line_is_one_json_object_of_printable_text() {
    for (name, input) in inputs() {
        for line in decoded(&input) {
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert!(value["event"].is_string(), "{name}: {line}");
            assert!(line.starts_with("{\"event\":\""), "{name}: {line}");
            let is_plain = |c: char| {
                !c.is_control() && !matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            };
            assert!(line.chars().all(is_plain), "{name}: {line}");
        }
    }
}

#[test]
fn escaping_keeps_the_value() {
    let name = "a\u{202e}b\u{9b}c\u{1b}d\u{7f}e\u{2028}f\"g\\hé😀";
    let input =
        format!(">CLIENT:CONNECT,1,2\r\n>CLIENT:ENV,username={name}\r\n>CLIENT:ENV,END\r\n");
    let line = decoded(input.as_bytes()).remove(0);
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["env"]["username"], name);
    assert!(line.contains("hé😀"), "harmless text stays readable: {line}");
}

#[test]
fn a_name_appears_once_in_the_variables() {
    let input = b">CLIENT:CONNECT,1,2\r\n>CLIENT:ENV,UV_A=1\r\n>CLIENT:ENV,IV_B=2\r\n\
        >CLIENT:ENV,UV_A=3\r\n>CLIENT:ENV,\xff=4\r\n>CLIENT:ENV,\xfe=5\r\n>CLIENT:ENV,END\r\n";
    assert_eq!(
        decoded(input),
        [
            r#"{"event":"connect","cid":1,"kid":2,"env":{"IV_B":"2","UV_A":"3","\\xff":"4","\\xfe":"5"},"device":null,"device_error":"UV_A was sent several times with different values"}"#
        ]
    );
}

#[test]
fn without_sources_there_is_no_device() {
    let mut out = Vec::new();
    let input = data("conformance/h16-hwaddr-zero.raw");
    decode(&mut input.as_slice(), &Default::default(), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.ends_with("\"device\":null}\n"), "{text}");
}

#[test]
fn a_password_shown_as_a_secret_may_be_any_bytes() {
    let input = data("conformance/g22-invalid-utf8-in-password.raw");
    assert!(decode_to(&input, true).contains(r#""password":{"base64":"cP/pdw=="}"#));
    assert!(decode_to(&input, false).contains(r#""password":"***""#));
}

/// Gives one byte a read, with interruptions.
struct Trickle<'a>(&'a [u8], bool);

impl Read for Trickle<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let count = self.0.len().min(1);
        out[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

#[test]
fn the_pieces_of_the_input_do_not_matter() {
    for name in
        ["conformance/h47-two-blocks-chunked-anywhere.raw", "conformance/h38-line-70000-bytes.raw"]
    {
        let (input, mut out) = (data(name), Vec::new());
        decode(&mut Trickle(&input, false), &options(false), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), decode_to(&input, false), "{name}");
    }
}

/// An output that fails after so many lines.
struct Closing(usize, io::ErrorKind);

impl Write for Closing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(1).ok_or(self.1)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.0 == 0 { Err(self.1.into()) } else { Ok(()) }
    }
}

/// An input without an end.
struct Endless;

impl Read for Endless {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let line = b">HOLD:Waiting\n";
        out[..line.len()].copy_from_slice(line);
        Ok(line.len())
    }
}

#[test]
fn a_reader_that_went_away_ends_it_quietly_and_a_full_disk_does_not() {
    let run = |lines, kind| decode(&mut Endless, &options(false), &mut Closing(lines, kind));
    assert!(run(3, io::ErrorKind::BrokenPipe).is_ok());
    assert_eq!(run(3, io::ErrorKind::StorageFull).unwrap_err().kind(), io::ErrorKind::StorageFull);
    let last =
        decode(&mut &b">HOLD:x\n"[..], &options(false), &mut Closing(1, io::ErrorKind::BrokenPipe));
    assert!(last.is_ok());
}
