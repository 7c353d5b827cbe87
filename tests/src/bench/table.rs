//! The figures as people read them.

use std::fmt::Write;

use super::{Figure, Group, Report, Target};

/// All figures of a run, with a line at the end that counts what was reached.
pub fn table(report: &Report) -> String {
    let width = report.figures.iter().map(|figure| figure.name.chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    let mut group = None;
    for figure in &report.figures {
        if group.replace(figure.group) != Some(figure.group) {
            let _ = writeln!(text, "\n{}", title(figure.group));
        }
        let measured = format!("{} {}", digits(figure.value, figure.unit), figure.unit);
        let line = format!("  {:width$}  {measured:>16}  {}", figure.name, verdict(figure));
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let count = |wanted| report.figures.iter().filter(|figure| figure.reached == Some(wanted)).count();
    let (reached, missed) = (count(true), count(false));
    let mode = if report.quick { ", quick" } else { "" };
    let _ = writeln!(
        text,
        "\n{reached} figures reached, {missed} missed, {} not measured; kernel {}, {:.0} s{mode}",
        report.failures.len(),
        report.kernel,
        report.seconds
    );
    for failure in &report.failures {
        let _ = writeln!(text, "not measured: {failure}");
    }
    text
}

fn title(group: Group) -> &'static str {
    match group {
        Group::Requests => "ADD and DEL, one after another",
        Group::Parallel => "100 at once",
        Group::Steps => "Where our time goes",
        Group::Paths => "Pod to pod on one node",
        Group::Program => "from_pod on an established flow",
        Group::Agent => "Agent and binaries",
        Group::Overlay => "Pod to pod across nodes, overlay",
        Group::Native => "Pod to pod across nodes, native routing",
        Group::World => "Pod to world, source NAT",
        Group::Translate => "Programs at the uplink on an established flow",
        Group::Flows => "A million live flows",
        Group::Peers => "Other nodes",
        Group::Flood => "A pod floods, its neighbour connects",
        Group::Hostport => "Ports of the node that are pods'",
        Group::AddLimits => "ADD with three mappings and limits",
        Group::Limits => "Limits: rate reached / asked, by bytes of IP packets",
        Group::Kubernetes => "An agent in a cluster",
    }
}

fn verdict(figure: &Figure) -> String {
    let (Some(target), Some(reached)) = (figure.target, figure.reached) else { return String::new() };
    let aim = match target {
        Target::AtMost(limit) => format!("at most {}", digits(limit, figure.unit)),
        Target::AtLeast(limit) => format!("at least {}", digits(limit, figure.unit)),
        Target::Within(least, most) => format!("{} to {}", digits(least, figure.unit), digits(most, figure.unit)),
    };
    format!("{aim:<15}  {}", if reached { "reached" } else { "MISSED" })
}

/// Three digits that say something; of a ratio those behind the point, which decide.
fn digits(value: f64, unit: &str) -> String {
    match value.abs() {
        ratio if ratio < 10.0 && unit.is_empty() => format!("{value:.3}"),
        small if small < 10.0 => format!("{value:.2}"),
        middle if middle < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_figure_stands_out() {
        let figure = |value, target| Figure {
            group: Group::Requests,
            name: "ADD p50".into(),
            value,
            unit: "ms",
            target: Some(target),
            reached: Some(false),
        };
        let figures = vec![figure(3.456, Target::AtMost(3.0))];
        let report = Report { kernel: "6.1".into(), quick: true, seconds: 1.0, figures, failures: vec!["x".into()] };
        let table = table(&report);
        assert!(table.contains("ADD p50           3.46 ms  at most 3.00     MISSED\n"), "{table}");
        assert!(table.contains("0 figures reached, 1 missed, 1 not measured; kernel 6.1, 1 s, quick\n"), "{table}");
        assert!(table.ends_with("not measured: x\n"), "{table}");
    }
}
