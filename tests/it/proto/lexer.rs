//! The reader of commands keeps to the rules that it was written from.

pub(super) use crate::fuzz::check::wire::commands;

#[test]
fn the_lexer_follows_the_rules_of_the_notes() {
    let read = |text: &str| commands(text.as_bytes()).remove(0);
    assert_eq!(
        read("a \"b \\\"c\\\\\" d\\ e 'f\\g'\n"),
        Ok(["a", "b \"c\\", "d e", "f\\g"].map(String::from).into())
    );
    assert_eq!(read("verb\t3 # note\n"), Ok(vec!["verb3".into()]));
    assert_eq!(read("a \"# b\" ; c\n"), Ok(vec!["a".into(), "# b".into()]));
    assert!(read("a \"b\n").is_err() && read("a \\n\n").is_err());
    assert!(read(&format!("{}\n", "a".repeat(256))).is_ok());
    assert!(read(&format!("{}\n", "a".repeat(257))).is_err());
    assert_eq!(read(&format!("{}\n", "a ".repeat(20))).map(|words| words.len()), Ok(16));
}
