//! Writes the output and errors of commands. `println!` panics when a reader has closed the pipe or a disk is full; here
//! a closed pipe is ignored, and a full disk gives one line and an exit code.

use std::fmt::Arguments;
use std::io::{ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// sysexits.h: the output cannot be written.
const EX_IOERR: u8 = 74;

const OPEN: u8 = 0;
const CLOSED: u8 = 1;
const BROKEN: u8 = 2;

/// The state of standard output; once it is closed or broken, nothing more is written to it.
static STANDARD_OUTPUT: AtomicU8 = AtomicU8::new(OPEN);

/// A caller's text for a terminal: characters that would move the cursor, end the line or change its direction are escaped.
pub fn printable(text: &str) -> String {
    let is_direction = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_direction(c) {
            printable.extend(c.escape_default());
        } else {
            printable.push(c);
        }
    }
    printable
}

/// Writes to standard output. Use the macros [`out`](crate::out) and [`outln`](crate::outln).
pub fn write(text: Arguments<'_>) {
    if STANDARD_OUTPUT.load(Ordering::Relaxed) == OPEN {
        note(std::io::stdout().lock().write_fmt(text));
    }
}

/// Writes a line to standard output.
pub fn write_line(text: Arguments<'_>) {
    write(format_args!("{text}\n"));
}

/// Writes a line to standard error, if possible. Use the macro [`errln`](crate::errln).
pub fn write_error(text: Arguments<'_>) {
    // There is no other place to report a failure.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// The command's exit code: its own, or 74 if its output could not be written. A closed pipe is not an error: a reader
/// such as `head` has read all it wanted.
pub fn exit_code(of_the_command: ExitCode) -> ExitCode {
    if STANDARD_OUTPUT.load(Ordering::Relaxed) == OPEN {
        note(std::io::stdout().lock().flush());
    }
    if STANDARD_OUTPUT.load(Ordering::Relaxed) == BROKEN {
        ExitCode::from(EX_IOERR)
    } else {
        of_the_command
    }
}

fn note(written: std::io::Result<()>) {
    let Err(error) = written else { return };
    let state = if error.kind() == ErrorKind::BrokenPipe {
        CLOSED
    } else {
        BROKEN
    };
    let before = STANDARD_OUTPUT.swap(state, Ordering::Relaxed);
    if before == OPEN && state == BROKEN {
        crate::errln!("payment-service: the output cannot be written: {error}");
    }
}

/// Whether somebody can still read standard output. A command that prints little must ask: otherwise it would not notice
/// that its reader has closed the pipe.
pub fn is_read() -> bool {
    let stdout = std::io::stdout();
    let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
    // Errors and hang-ups are always reported.
    if let Ok(1..) = poll(&mut polled, Some(&Timespec::default()))
        && polled[0]
            .revents()
            .intersects(PollFlags::ERR | PollFlags::HUP)
    {
        note(Err(ErrorKind::BrokenPipe.into()));
    }
    STANDARD_OUTPUT.load(Ordering::Relaxed) == OPEN
}

/// Writes a line to standard error if that is a terminal: for people only.
pub fn note_on_terminal(text: &str) {
    if std::io::stderr().is_terminal() {
        crate::errln!("{text}");
    }
}

/// A colour on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// It went well.
    Green,
    /// Refused or canceled: an outcome, not an error.
    Yellow,
    /// It failed.
    Red,
}

/// The text in this colour, if standard output is a terminal and `NO_COLOR` is not set (no-color.org).
pub fn painted(text: &str, paint: Option<Paint>) -> String {
    match paint {
        Some(paint) if has_colours() => {
            let code = match paint {
                Paint::Green => 32,
                Paint::Yellow => 33,
                Paint::Red => 31,
            };
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        }
        _ => text.to_owned(),
    }
}

fn has_colours() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stdout().is_terminal() && !set("NO_COLOR") && !is_dumb
}

/// Prints an error with its causes.
pub fn failed(error: &dyn std::error::Error) -> ExitCode {
    crate::errln!("payment-service: {error}");
    ExitCode::FAILURE
}

/// Like `print!`, but does not panic.
#[macro_export]
macro_rules! out {
    ($($text:tt)*) => { $crate::cli::output::write(format_args!($($text)*)) };
}

/// Like `println!`, but does not panic.
#[macro_export]
macro_rules! outln {
    ($($text:tt)*) => { $crate::cli::output::write_line(format_args!($($text)*)) };
}

/// Like `eprintln!`, but does not panic.
#[macro_export]
macro_rules! errln {
    ($($text:tt)*) => { $crate::cli::output::write_error(format_args!($($text)*)) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_act_on_a_terminal_are_escaped() {
        assert_eq!(printable("réf-1 ✓"), "réf-1 ✓");
        assert_eq!(printable("a\u{1b}[31m\u{7}"), "a\\u{1b}[31m\\u{7}");
        assert_eq!(printable("a\nINFO\r"), "a\\nINFO\\r");
        assert_eq!(
            printable("\u{202e}x\u{85}\u{2028}"),
            "\\u{202e}x\\u{85}\\u{2028}"
        );
    }
}
