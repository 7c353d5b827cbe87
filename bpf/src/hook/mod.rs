//! The programs, one a file.

mod from_pod;
mod to_pod;
