//! Quantities, as Kubernetes writes them: `10M`, `1.5Gi`, `500k`, `1e6`.
//!
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>

/// Longer numbers are of no bandwidth, and would not fit.
const MAX_DIGITS: usize = 24;

/// The quantity as a whole number, fractions rounded up; saturates at `u64::MAX`. `None` where it is none, or negative.
pub(super) fn parse(text: &str) -> Option<u64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || fraction.contains('.') || number.len() > MAX_DIGITS {
        return None;
    }
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let below = i32::try_from(fraction.len()).ok()?;
    let (factor, exponent) = match suffix {
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "" => (1, 0),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        _ => (1, suffix.strip_prefix(['e', 'E'])?.parse::<i8>().ok()?.into()),
    };
    let scaled = digits.saturating_mul(factor);
    let exponent = exponent - below;
    let power = 10_u128.checked_pow(exponent.unsigned_abs()).unwrap_or(u128::MAX);
    let value = if exponent < 0 { scaled.div_ceil(power) } else { scaled.saturating_mul(power) };
    Some(u64::try_from(value).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suffix_has_its_factor() {
        for (text, value) in [
            ("10M", 10_000_000),
            ("1Gi", 1 << 30),
            ("500k", 500_000),
            ("1.5M", 1_500_000),
            ("0.5Ki", 512),
            (".5k", 500),
            ("5.", 5),
            ("+7", 7),
            ("0", 0),
            ("1e6", 1_000_000),
            ("2E3", 2000),
            ("15e-1", 2),
            ("1500m", 2),
            ("1n", 1),
            ("1P", 1_000_000_000_000_000),
            ("2Ti", 2 << 40),
            ("1E", 1_000_000_000_000_000_000),
            ("9999E", u64::MAX),
            ("1e99", u64::MAX),
            ("123456789012345678901234", u64::MAX),
        ] {
            assert_eq!(parse(text), Some(value), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["", ".", "M", "10 M", "10mb", "10K", "10MB", "1.2.3", "-1M", "1e", "1e400", "ten", "1ki", "10M\n"]
        {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!(parse(&"9".repeat(40)), None);
    }
}
