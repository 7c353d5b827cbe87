//! Tables for people, JSON for programs.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Cell, Color, Table, presets};
use serde::Serialize;

use super::args::Format;

/// Where answers go, and how.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
    colours: bool,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        // https://no-color.org: any text counts.
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { format, colours: !refused && io::stdout().is_terminal() }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    pub(crate) fn json(value: &impl Serialize) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        serde_json::to_writer_pretty(&mut stdout, value)?;
        writeln!(stdout)
    }

    pub(crate) fn line(line: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{line}")?;
        stdout.flush()
    }

    pub(crate) fn table(mut table: Table) -> io::Result<()> {
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        Self::line(&table.trim_fmt())
    }

    /// An empty table with these headings, aligned by space alone.
    pub(crate) fn new_table(&self, headings: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        if self.colours {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        if !headings.is_empty() {
            table.set_header(headings);
        }
        table
    }

    /// A word that should catch the eye.
    pub(crate) fn mark(text: &str, good: bool) -> Cell {
        Cell::new(text).fg(if good { Color::Green } else { Color::Red })
    }
}

/// Both families' addresses in one cell.
pub(super) fn join(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Columns of a line that belongs to no table, because nobody knows the rows to come.
pub(super) fn align(fields: &[impl AsRef<str>], widths: &[usize]) -> String {
    let mut line = String::new();
    for (at, field) in fields.iter().enumerate() {
        let field = field.as_ref();
        line.push_str(field);
        if let Some(width) = widths.get(at) {
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(field.len()) + 2));
        }
    }
    line
}

/// UTC, from microseconds since the Unix epoch.
pub(super) fn time_of_day(unix_us: u64) -> String {
    let (us, secs) = (unix_us % 1_000_000, unix_us / 1_000_000 % 86400);
    format!("{:02}:{:02}:{:02}.{us:06}", secs / 3600, secs / 60 % 60, secs % 60)
}

/// The two largest units, as `3d 4h` or `12s`.
pub(super) fn seconds(secs: u64) -> String {
    let (days, hours, minutes) = (secs / 86400, secs / 3600 % 24, secs / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{secs}s"),
        (0, 0, _) => format!("{minutes}m {}s", secs % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        let texts = [0, 59, 60, 3599, 3600, 86399, 273_600].map(seconds);
        assert_eq!(texts, ["0s", "59s", "1m 0s", "59m 59s", "1h 0m", "23h 59m", "3d 4h"]);
    }
}
