//! Paths of the agent's API: interface names may hold bytes that a path cannot (RFC 3986, section 2.1).

use crate::api::AttachmentKey;

/// `/v1/attachments/{container}/{ifname}`.
pub fn attachment(key: &AttachmentKey) -> String {
    format!("/v1/attachments/{}/{}", encode(&key.container_id), encode(&key.ifname))
}

/// A segment's text; `None` when it is not percent-encoded UTF-8.
pub fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

fn encode(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_names_stay_plain() {
        let key = AttachmentKey { container_id: "0aF-_.x".into(), ifname: "eth0".into() };
        assert_eq!(attachment(&key), "/v1/attachments/0aF-_.x/eth0");
    }

    #[test]
    fn what_is_no_encoding_is_refused() {
        for segment in ["%", "%4", "%zz", "%+1", "%ff"] {
            assert_eq!(decode(segment), None, "{segment}");
        }
    }

    proptest! {
        #[test]
        fn every_name_comes_back(name: String) {
            let segment = encode(&name);
            prop_assert!(segment.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#".contains(&byte)));
            prop_assert_eq!(decode(&segment), Some(name));
        }

        #[test]
        fn no_segment_is_a_surprise(segment: String) {
            let _ = decode(&segment);
        }
    }
}
