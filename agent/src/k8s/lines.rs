//! A stream's pieces, cut into the lines that they make up.

use super::K8sError;

/// More than any object has: etcd takes 1.5 MiB.
const MAX_LINE: usize = 8 << 20;

/// What came and was not taken yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    /// How much of it was taken.
    taken: usize,
    /// How much of it is known to hold no end of a line.
    searched: usize,
}

impl Lines {
    pub(super) fn push(&mut self, data: &[u8]) -> Result<(), K8sError> {
        self.buffer.drain(..self.taken);
        (self.searched, self.taken) = (self.searched - self.taken, 0);
        if self.buffer.len() + data.len() > MAX_LINE {
            return Err(K8sError::TooLong { most: MAX_LINE });
        }
        self.buffer.extend_from_slice(data);
        Ok(())
    }

    /// The next whole line that is not blank, without its end.
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        loop {
            let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
                self.searched = self.buffer.len();
                return None;
            };
            let line = self.taken..self.searched + end;
            self.taken = line.end + 1;
            self.searched = self.taken;
            if !self.buffer[line.clone()].trim_ascii().is_empty() {
                return Some(&self.buffer[line]);
            }
        }
    }

    /// Whether nothing is left of a line that did not end.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer[self.taken..].trim_ascii().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_were_cut() {
        let text = b"one\n\ntwo\r\n \nthree\nrest";
        for size in 1..=text.len() {
            let (mut lines, mut seen) = (Lines::default(), Vec::new());
            for piece in text.chunks(size) {
                lines.push(piece).unwrap();
                while let Some(line) = lines.next() {
                    seen.push(String::from_utf8_lossy(line).trim().to_owned());
                }
            }
            assert_eq!(seen, ["one", "two", "three"], "{size}");
            assert!(!lines.is_empty());
            lines.push(b"\n").unwrap();
            assert_eq!(lines.next(), Some(&b"rest"[..]));
            assert!(lines.is_empty());
        }
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut lines = Lines::default();
        lines.push(&vec![b'x'; MAX_LINE]).unwrap();
        assert!(lines.next().is_none());
        assert!(lines.push(b"x").is_err());
    }
}
