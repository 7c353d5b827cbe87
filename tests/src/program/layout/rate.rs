//! The layout of `rates`.

use anyhow::Result;
use weft_abi::{Limit, Rate};

use super::{Layout, Reader, Writer};

fn long(bytes: &mut Reader<'_>) -> Result<u64> {
    let (low, high) = (u64::from(bytes.word()?), u64::from(bytes.word()?));
    Ok(high << 32 | low)
}

impl Layout<4> for u32 {
    fn put(&self, out: &mut Writer) {
        out.word(*self);
    }

    fn take(bytes: &mut Reader<'_>) -> Result<Self> {
        bytes.word()
    }
}

impl Layout<200> for Rate {
    fn put(&self, out: &mut Writer) {
        // The lock is the kernel's.
        out.all(&[0; 8]);
        for limit in [&self.egress, &self.ingress] {
            for value in [
                limit.rate,
                limit.credit_ns,
                limit.next_ns,
                limit.offered_packets,
                limit.offered_bytes,
                limit.sent_packets,
                limit.sent_bytes,
                limit.delayed_packets,
                limit.delay_ns,
                limit.marked_packets,
                limit.dropped_packets,
                u64::from(limit.class),
            ] {
                out.all(&value.to_le_bytes());
            }
        }
    }

    fn take(bytes: &mut Reader<'_>) -> Result<Self> {
        long(bytes)?;
        let mut limit = || -> Result<Limit> {
            let [rate, credit_ns, next_ns, offered_packets, offered_bytes] =
                [long(bytes)?, long(bytes)?, long(bytes)?, long(bytes)?, long(bytes)?];
            let [sent_packets, sent_bytes, delayed_packets, delay_ns] =
                [long(bytes)?, long(bytes)?, long(bytes)?, long(bytes)?];
            let [marked_packets, dropped_packets] = [long(bytes)?, long(bytes)?];
            Ok(Limit {
                rate,
                credit_ns,
                next_ns,
                offered_packets,
                offered_bytes,
                sent_packets,
                sent_bytes,
                delayed_packets,
                delay_ns,
                marked_packets,
                dropped_packets,
                class: bytes.word()?,
                pad: bytes.word()?,
            })
        };
        Ok(Self { egress: limit()?, ingress: limit()?, ..Self::default() })
    }
}
