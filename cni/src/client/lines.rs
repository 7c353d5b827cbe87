//! An answer that comes line by line.

use std::io::{self, BufRead, BufReader};

use crate::client::http::Body;

/// Lines of an answer as they come; waits for the next one as long as the connection holds.
#[derive(Debug)]
pub struct Lines(BufReader<Body>);

impl Lines {
    pub(super) fn new(body: Body) -> Self {
        Self(BufReader::new(body))
    }
}

impl Iterator for Lines {
    type Item = io::Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => {
                line.truncate(line.trim_end_matches(['\r', '\n']).len());
                Some(Ok(line))
            }
            Err(error) => Some(Err(error)),
        }
    }
}
