//! Measured values and what was aimed for.

use serde::Serialize;

use super::Group;

/// One measured value.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What it was measured with.
    pub group: Group,
    /// What was measured.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what; empty for a ratio.
    pub unit: &'static str,
    /// What was aimed for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Whether that was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reached: Option<bool>,
}

/// What a value is aimed to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
    /// Between these two.
    Within(f64, f64),
}

impl Target {
    fn is_reached_by(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
            Self::Within(least, most) => (least..=most).contains(&value),
        }
    }
}

/// Collects figures, group by group.
#[derive(Debug, Default)]
pub struct Figures {
    group: Option<Group>,
    list: Vec<Figure>,
}

impl Figures {
    /// What follows belongs to this group.
    pub(super) fn begin(&mut self, group: Group) {
        self.group = Some(group);
    }

    /// A value to compare with.
    pub(super) fn note(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.push(name.into(), value, unit, None);
    }

    /// A value that something was aimed for.
    pub(super) fn aim(&mut self, name: impl Into<String>, value: f64, unit: &'static str, target: Target) {
        self.push(name.into(), value, unit, Some(target));
    }

    fn push(&mut self, name: String, value: f64, unit: &'static str, target: Option<Target>) {
        let Some(group) = self.group else { return };
        let reached = target.map(|target| target.is_reached_by(value));
        self.list.push(Figure { group, name, value, unit, target, reached });
    }

    /// All of them, in the order in which they came.
    pub(super) fn into_list(self) -> Vec<Figure> {
        self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_reached_by_itself() {
        assert!(Target::AtMost(3.0).is_reached_by(3.0) && !Target::AtMost(3.0).is_reached_by(3.1));
        assert!(Target::AtLeast(0.9).is_reached_by(0.9) && !Target::AtLeast(0.9).is_reached_by(0.8));
        let within = Target::Within(0.95, 1.01);
        assert!(within.is_reached_by(1.01) && !within.is_reached_by(1.02) && !within.is_reached_by(0.94));
    }
}
