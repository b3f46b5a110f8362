//! `decode`: what goes in and out; `proto` tests what it understands.

use std::process::Stdio;

use super::Bed;

#[test]
fn decode_reads_a_file_or_stdin() {
    let bed = Bed::new();
    let bytes = ">HOLD:Waiting for hold release:0\r\nSUCCESS: pid=7\r\n";
    let wanted = "{\"event\":\"hold\"}\n{\"event\":\"success\",\"text\":\"pid=7\"}\n";
    assert_eq!(bed.run_with(&["decode"], bytes).good(), wanted);
    let file = bed.folder.path().join("capture");
    std::fs::write(&file, bytes).unwrap();
    assert_eq!(bed.run(&["decode", file.to_str().unwrap()]).good(), wanted);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let bed = Bed::new();
    let file = bed.folder.path().join("capture");
    std::fs::write(&file, ">HOLD:x\r\n".repeat(200_000)).unwrap();
    let mut command = bed.command(&["decode", file.to_str().unwrap()]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
