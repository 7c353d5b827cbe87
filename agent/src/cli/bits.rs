//! Rates and bursts as people write them.

use std::str::FromStr;

/// Units, smallest first. Kubernetes writes quantities with the same ones.
const UNITS: [(&str, u64); 9] = [
    ("", 1),
    ("k", 1_000),
    ("Ki", 1 << 10),
    ("M", 1_000_000),
    ("Mi", 1 << 20),
    ("G", 1_000_000_000),
    ("Gi", 1 << 30),
    ("T", 1_000_000_000_000),
    ("Ti", 1 << 40),
];

/// Bits, or bits a second; nothing for `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bits(pub(super) Option<u64>);

impl FromStr for Bits {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "not a number of bits like 500k, 10M, 1.5G or 1Gi, nor `off`";
        if text == "off" {
            return Ok(Self(None));
        }
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let unit = if unit == "K" { "k" } else { unit };
        let (_, scale) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or(WRONG)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        // What does not come out even in bits is cut off.
        let digits: u128 = format!("{whole}{fraction}").parse().map_err(|_| WRONG)?;
        let divisor = u32::try_from(fraction.len()).ok().and_then(|length| 10_u128.checked_pow(length)).ok_or(WRONG)?;
        let bits = digits.checked_mul(scale.into()).ok_or(WRONG)? / divisor;
        u64::try_from(bits).map(|bits| Self(Some(bits))).map_err(|_| WRONG)
    }
}

/// In the largest unit that leaves at most three decimals, as `1.5 Gbit`.
pub(super) fn show(bits: u64) -> String {
    let decimal = UNITS.iter().rev().filter(|(name, _)| !name.ends_with('i'));
    let exact = |scale: u64| bits >= scale && bits.is_multiple_of((scale / 1000).max(1));
    let (unit, scale) = decimal.copied().find(|(_, scale)| exact(*scale)).unwrap_or(UNITS[0]);
    let (whole, rest) = (bits / scale, bits % scale);
    if rest == 0 {
        return format!("{whole} {unit}bit");
    }
    let decimals = format!("{:03}", rest / (scale / 1000));
    format!("{whole}.{} {unit}bit", decimals.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_have_units() {
        for (text, bits) in [
            ("off", None),
            ("0", Some(0)),
            ("1500", Some(1500)),
            ("10M", Some(10_000_000)),
            ("10k", Some(10_000)),
            ("10K", Some(10_000)),
            ("1.5G", Some(1_500_000_000)),
            ("1Gi", Some(1 << 30)),
            (".5k", Some(500)),
            ("18446744073709551615", Some(u64::MAX)),
        ] {
            assert_eq!(text.parse(), Ok(Bits(bits)), "{text}");
        }
        for text in ["", "M", ".", "-1", "10m", "10 M", "1.2.3M", "1e6", "10Mbit", "18446744073709551616", "99999999T"]
        {
            assert!(text.parse::<Bits>().is_err(), "{text}");
        }
    }

    #[test]
    fn bits_are_shown_in_the_unit_that_fits() {
        for (bits, text) in [
            (0, "0 bit"),
            (999, "999 bit"),
            (1000, "1 kbit"),
            (1_500_000, "1.5 Mbit"),
            (1_000_001, "1000.001 kbit"),
            (10_000_000_000, "10 Gbit"),
            (1_050_000_000, "1.05 Gbit"),
            (1 << 30, "1073741.824 kbit"),
        ] {
            assert_eq!(show(bits), text);
        }
    }
}
