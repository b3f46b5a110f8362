//! The form of a log line: one event, one line of harmless UTF-8, whatever a value holds.

use std::fmt::{self, Write};

use tracing::{
    Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use crate::types::{Clock, is_unsafe};

/// Form of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One JSON object a line.
    Json,
    /// For people; with colour where `true`.
    Pretty(bool),
    /// For people, short.
    Compact,
}

/// Writes events as lines.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    form: Form,
    clock: Clock,
}

impl Line {
    /// Lines of this form.
    pub fn new(form: Form) -> Self {
        Self { form, clock: Clock::new() }
    }
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> fmt::Result {
        let mut head = Head::default();
        event.record(&mut head);
        let metadata = event.metadata();
        let name = if head.event.is_empty() { "log" } else { head.event };
        let now = self.clock.now().utc;
        let level = level(*metadata.level());
        match self.form {
            Form::Json => {
                write!(writer, r#"{{"timestamp":"{now}","level":"{level}","event":"{name}""#)?;
                writer.write_str(r#","message":""#)?;
                writer.write_str(&head.message)?;
                writer.write_char('"')?;
                if head.event.is_empty() {
                    write!(writer, r#","target":"{}""#, metadata.target())?;
                }
            }
            Form::Pretty(colour) => {
                let of = |code| if colour { code } else { "" };
                let (level_on, dim, bold) = (of(colours(*metadata.level())), of(DIM), of(BOLD));
                let off = of(OFF);
                write!(writer, "{dim}{now}{off} {level_on}{level:<5}{off} {bold}{name:<20}{off} ")?;
                writer.write_str(&head.message)?;
            }
            Form::Compact => write!(writer, "{level:<5} {name}")?,
        }
        let mut fields = Fields { writer: writer.by_ref(), form: self.form, result: Ok(()) };
        event.record(&mut fields);
        fields.result?;
        writer.write_str(if self.form == Form::Json { "}\n" } else { "\n" })
    }
}

const fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
const OFF: &str = "\x1b[0m";

const fn colours(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[1;31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG | Level::TRACE => DIM,
    }
}

/// What stands at the line's start: the event's name, a constant, and its message, escaped.
#[derive(Default)]
struct Head {
    event: &'static str,
    message: String,
}

impl Visit for Head {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "event" => self.event = known_event(value),
            "message" => self.record_debug(field, &format_args!("{value}")),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a String cannot fail.
            let _ = write!(Escaped(&mut self.message), "{value:?}");
        }
    }
}

/// Event names are constants of ours; this gives them their lifetime back.
fn known_event(name: &str) -> &'static str {
    super::events::NAMES.iter().find(|known| **known == name).copied().unwrap_or("log")
}

struct Fields<'w> {
    writer: Writer<'w>,
    form: Form,
    result: fmt::Result,
}

impl Fields<'_> {
    /// Writes `,"name":` or ` name=`; false for what stands at the line's start.
    fn name(&mut self, field: &Field) -> bool {
        // `target` is a word of the tracing macros: such a field has another name in the code.
        let name = match field.name() {
            "event" | "message" => return false,
            "target_name" => "target",
            name if name.starts_with("log.") => return false,
            name => name,
        };
        let written = match self.form {
            Form::Json => write!(self.writer, r#","{name}":"#),
            // The values are what is read.
            Form::Pretty(true) => write!(self.writer, " {DIM}{name}={OFF}"),
            Form::Pretty(false) | Form::Compact => write!(self.writer, " {name}="),
        };
        self.result = self.result.and(written);
        self.result.is_ok()
    }

    fn bare(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if self.name(field) {
            self.result = self.writer.write_fmt(value);
        }
    }

    fn text(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if self.name(field) {
            self.result = self
                .writer
                .write_char('"')
                .and_then(|()| Escaped(&mut self.writer).write_fmt(value))
                .and_then(|()| self.writer.write_char('"'));
        }
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, format_args!("{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, format_args!("{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.bare(field, format_args!("{value}"));
        } else {
            self.text(field, format_args!("{value}"));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format_args!("{value:?}"));
    }
}

/// Escapes for a JSON string, and whatever a terminal would interpret.
struct Escaped<'w, W: Write>(&'w mut W);

impl<W: Write> Write for Escaped<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut plain = 0;
        for (at, c) in text.char_indices() {
            let needs_escape = matches!(c, '"' | '\\') || is_unsafe(c);
            if !needs_escape {
                continue;
            }
            self.0.write_str(&text[plain..at])?;
            plain = at + c.len_utf8();
            match c {
                '"' => self.0.write_str("\\\"")?,
                '\\' => self.0.write_str("\\\\")?,
                c => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(self.0, "\\u{unit:04x}")?;
                    }
                }
            }
        }
        self.0.write_str(&text[plain..])
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use proptest::prelude::*;
    use tracing_subscriber::{fmt::MakeWriter, prelude::*};

    use super::*;
    use crate::telemetry::subscriber;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    fn written(form: Form, log: impl FnOnce()) -> String {
        let lines = Lines::default();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(Line::new(form))
            .with_writer(lines.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_json_line_begins_with_its_common_fields_and_keeps_types() {
        let line = written(Form::Json, || {
            tracing::info!(
                event = "link.up",
                server = "udp",
                cid = 7u32,
                reauth = false,
                kid = None::<u32>,
                "attached"
            );
        });
        let (_, rest) = line.split_once(r#"","level":"#).unwrap();
        assert_eq!(
            rest,
            "\"info\",\"event\":\"link.up\",\"message\":\"attached\",\"server\":\"udp\",\"cid\":7,\"reauth\":false}\n"
        );
        assert_eq!(line.find('T'), Some(24), "{line}");
    }

    #[test]
    fn a_line_of_a_dependency_says_where_it_comes_from() {
        let line = written(Form::Json, || tracing::warn!(target: "sqlx", "slow"));
        assert!(line.contains(r#""event":"log","message":"slow","target":"sqlx"}"#), "{line}");
    }

    #[test]
    fn a_panic_says_where_and_not_what() {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(subscriber::tell_panic));
        let line = written(Form::Json, || {
            let panicked = std::panic::catch_unwind(|| panic!("canary"));
            assert!(panicked.is_err());
        });
        std::panic::set_hook(hook);
        assert!(line.contains(r#""at":"src/telemetry/line.rs:"#), "{line}");
        assert!(
            line.contains("a fault of ovpn-warden itself") && !line.contains("canary"),
            "{line}"
        );
    }

    #[test]
    fn the_forms_for_people_are_one_line_too() {
        for form in [Form::Pretty(false), Form::Compact] {
            let line = written(form, || tracing::warn!(event = "link.lost", error = "a\nb", "x"));
            assert_eq!(line.lines().count(), 1);
            assert!(line.contains(r#"error="a\u000ab""#), "{line}");
        }
    }

    #[test]
    fn colours_are_ours_alone_and_change_no_word() {
        let line = |colour| {
            written(Form::Pretty(colour), || {
                tracing::warn!(event = "auth.denied", user = "a\x1b[31mb", cid = 7, "login denied");
            })
        };
        let (coloured, plain) = (line(true), line(false));
        assert!(coloured.contains("\x1b[33mwarn \x1b[0m") && !plain.contains('\x1b'), "{coloured}");
        let ours = [DIM, BOLD, OFF, colours(Level::WARN)];
        let stripped = ours.iter().fold(coloured, |line, code| line.replace(code, ""));
        // Behind the time.
        assert_eq!(stripped.split_once(' ').unwrap().1, plain.split_once(' ').unwrap().1);
    }

    proptest! {
        #[test]
        fn any_text_is_one_harmless_line_that_reads_back(text in any::<String>()) {
            let line = written(Form::Json, || tracing::info!(event = "link.up", user = text.as_str(), "x"));
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert!(!line.trim_end_matches('\n').chars().any(is_unsafe));
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(value["user"].as_str(), Some(text.as_str()));
        }
    }
}
