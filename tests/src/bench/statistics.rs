//! Medians and quantiles of small samples, and whose turn it is.

use std::time::Duration;

/// The value in the middle; between two of them when their number is even. 0 of nothing.
pub(super) fn median(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        len if len % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

/// The smallest value that this many in a hundred do not exceed. 0 of nothing.
pub(super) fn percentile(values: &[f64], percent: usize) -> f64 {
    let sorted = sorted(values);
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The median of what each round's value was to that round's base.
pub(super) fn median_ratio(values: &[f64], bases: &[f64]) -> f64 {
    let ratios: Vec<f64> = values.iter().zip(bases).map(|(value, base)| value / base).collect();
    median(&ratios)
}

/// Whose turn it is in a round: each comes first, second and last equally often.
pub(super) fn turns(round: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |turn| (round + turn) % count)
}

/// In milliseconds.
pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// A count as a number to divide by.
#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^52")]
pub(super) fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn middle_and_tail() {
        let hundred: Vec<f64> = (1..=100_u32).rev().map(f64::from).collect();
        assert!((median(&hundred) - 50.5).abs() < 1e-9);
        assert!((percentile(&hundred, 95) - 95.0).abs() < 1e-9);
        assert!((percentile(&[7.0], 95) - 7.0).abs() < 1e-9);
        assert!(median(&[]).abs() < 1e-9 && percentile(&[], 95).abs() < 1e-9);
    }

    #[test]
    fn rounds_are_compared_each_with_its_own_base() {
        assert!((median_ratio(&[2.0, 30.0, 400.0], &[1.0, 10.0, 100.0]) - 3.0).abs() < 1e-9);
    }
}
