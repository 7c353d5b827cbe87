//! The parameters behind a request's question mark.

use std::fmt::Display;
use std::str::FromStr;

use weft_cni::api::ApiError;
use weft_cni::path::decode;

use super::error::invalid;

/// Parameters as they come; a name may come twice.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Takes the query apart; every name has to be among the `known`.
    pub(super) fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, ApiError> {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let parse = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !known.contains(&name) {
                return Err(invalid(format!("parameter {name:?} is unknown: there are {}", known.join(", "))));
            }
            let value = decode(value).ok_or_else(|| invalid(format!("{name}={value} is not percent-encoded UTF-8")))?;
            Ok((name.to_owned(), value))
        };
        pairs.map(parse).collect::<Result<_, _>>().map(Self)
    }

    /// Every value of that name, read by `read`; `what` says what it should have been.
    pub(super) fn all<T>(
        &self,
        name: &str,
        what: impl Display,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, ApiError> {
        let values = self.0.iter().filter(|(known, _)| known == name);
        let read = |(_, value): &(String, String)| {
            read(value).ok_or_else(|| invalid(format!("parameter {name}={value:?} is not {what}")))
        };
        values.map(read).collect()
    }

    /// The value of that name, the last one if it comes twice.
    pub(super) fn one<T>(
        &self,
        name: &str,
        what: impl Display,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        Ok(self.all(name, what, read)?.pop())
    }

    /// A value that is parsed as its type is.
    pub(super) fn parsed<T: FromStr>(&self, name: &str, what: &str) -> Result<Option<T>, ApiError> {
        self.one(name, what, |value| value.parse().ok())
    }
}
