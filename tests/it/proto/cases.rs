//! The cases on disk: name, input, and the lines that `decode` is to print.
//!
//! `conformance.expected` has the lines for each file of `conformance`; `neighbours.cases` has
//! the input too, as lines behind `< ` with `\t`, `\r`, `\n` and `\xNN`.

use super::{data, files};

pub(super) struct Case {
    pub(super) name: String,
    pub(super) input: Vec<u8>,
    pub(super) expected: Vec<String>,
}

pub(super) fn all() -> Vec<Case> {
    let mut cases = conformance();
    cases.extend(neighbours());
    cases
}

/// One for each `.raw` file; a file without expected lines is a fault of the tests.
pub(super) fn conformance() -> Vec<Case> {
    let cases: Vec<Case> = sections("conformance.expected")
        .into_iter()
        .map(|(name, expected)| {
            let input = data(&format!("conformance/{name}"));
            Case { name, input, expected }
        })
        .collect();
    let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names, files("conformance", ".raw"));
    cases
}

fn neighbours() -> Vec<Case> {
    let case = |(name, lines): (String, Vec<String>)| {
        let (mut input, mut expected) = (Vec::new(), Vec::new());
        for line in lines {
            if let Some(text) = line.strip_prefix("< ") {
                input.extend(unescaped(text));
                input.extend(b"\r\n");
            } else {
                expected.push(line.strip_prefix("> ").unwrap().to_owned());
            }
        }
        Case { name, input, expected }
    };
    sections("neighbours.cases").into_iter().map(case).collect()
}

fn sections(file: &str) -> Vec<(String, Vec<String>)> {
    let mut sections: Vec<(String, Vec<String>)> = Vec::new();
    for line in String::from_utf8(data(file)).unwrap().lines() {
        match line.strip_prefix("=== ") {
            Some(name) => sections.push((name.to_owned(), Vec::new())),
            None => sections.last_mut().unwrap().1.push(line.to_owned()),
        }
    }
    sections
}

fn unescaped(text: &str) -> Vec<u8> {
    let (mut out, mut bytes) = (Vec::new(), text.bytes());
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next() {
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b'x') => {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => panic!("unknown escape {other:?} in {text}"),
        });
    }
    out
}
