//! The name of a client's certificate: its subject, as RFC 2253 writes it and Kafka shows it.
//!
//! A certificate that comes here was checked already; still nothing is believed: every length is held
//! against the bytes that are there, and what cannot be read is no name.
//!
//! ```text
//! Certificate = SEQUENCE { tbs SEQUENCE { [0] version?, serial, algorithm, issuer, validity, subject, … } … }
//! Name        = SEQUENCE OF SET OF SEQUENCE { OID, string }
//! ```

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
const VERSION: u8 = 0xa0;

/// One element: its tag, its content, and the whole of it.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
}

/// Takes the next element from the front.
fn take<'a>(rest: &mut &'a [u8]) -> Option<Element<'a>> {
    let (&[tag, first], after) = rest.split_first_chunk::<2>()?;
    let (length, header) = match first {
        0..=0x7f => (usize::from(first), 2),
        0x81..=0x84 => {
            let count = usize::from(first & 0x7f);
            let bytes = after.get(..count)?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), 2 + count)
        }
        _ => return None,
    };
    let whole = rest.get(..header.checked_add(length)?)?;
    *rest = &rest[whole.len()..];
    Some(Element { tag, content: &whole[header..], whole })
}

fn expect<'a>(rest: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    take(rest).filter(|element| element.tag == tag).map(|element| element.content)
}

/// The subject of a certificate in DER, most specific part first: `CN=alice,OU=ops,O=Example`.
pub(super) fn subject(certificate: &[u8]) -> Option<String> {
    let mut rest = certificate;
    let mut certificate = expect(&mut rest, SEQUENCE)?;
    let mut tbs = expect(&mut certificate, SEQUENCE)?;
    if tbs.first() == Some(&VERSION) {
        take(&mut tbs)?;
    }
    // Serial number, signature algorithm, issuer, validity.
    for _ in 0..4 {
        take(&mut tbs)?;
    }
    let mut name = expect(&mut tbs, SEQUENCE)?;
    let mut parts = Vec::new();
    while !name.is_empty() {
        let mut set = expect(&mut name, SET)?;
        let mut together = Vec::new();
        while !set.is_empty() {
            let mut pair = expect(&mut set, SEQUENCE)?;
            let oid = expect(&mut pair, OID)?;
            together.push(attribute(oid, &take(&mut pair)?)?);
        }
        parts.push(together.join("+"));
    }
    parts.reverse();
    Some(parts.join(","))
}

fn attribute(oid: &[u8], value: &Element<'_>) -> Option<String> {
    let known = match oid {
        [0x55, 4, 3] => "CN",
        [0x55, 4, 6] => "C",
        [0x55, 4, 7] => "L",
        [0x55, 4, 8] => "ST",
        [0x55, 4, 9] => "STREET",
        [0x55, 4, 10] => "O",
        [0x55, 4, 11] => "OU",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => "DC",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1] => "UID",
        _ => {
            let hex: String = value.whole.iter().map(|byte| format!("{byte:02x}")).collect();
            return Some(format!("{}=#{hex}", dotted(oid)?));
        }
    };
    Some(format!("{known}={}", escape(&string(value)?)))
}

/// UTF8String, PrintableString, T61String, IA5String, BMPString.
fn string(value: &Element<'_>) -> Option<String> {
    match value.tag {
        0x0c | 0x13 | 0x14 | 0x16 => String::from_utf8(value.content.to_vec()).ok(),
        0x1e => {
            let units =
                value.content.chunks_exact(2).map(|two| u16::from_be_bytes([two[0], two[1]]));
            String::from_utf16(&units.collect::<Vec<_>>()).ok()
        }
        _ => None,
    }
}

fn escape(text: &str) -> String {
    let mut out = String::new();
    let last = text.chars().count().saturating_sub(1);
    for (at, c) in text.chars().enumerate() {
        let special = matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';')
            || (at == 0 && matches!(c, ' ' | '#'))
            || (at == last && c == ' ');
        if special {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn dotted(oid: &[u8]) -> Option<String> {
    let (first, rest) = oid.split_first()?;
    let mut out = format!("{}.{}", (first / 40).min(2), first - 40 * (first / 40).min(2));
    let mut arc: u64 = 0;
    for byte in rest {
        arc = arc.checked_mul(128)?.checked_add(u64::from(byte & 0x7f))?;
        if byte & 0x80 == 0 {
            out.push_str(&format!(".{arc}"));
            arc = 0;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let length = u8::try_from(content.len()).expect("a short element");
        let mut out = vec![tag];
        if length >= 0x80 {
            out.push(0x81);
        }
        out.push(length);
        out.extend(content);
        out
    }

    fn attribute(oid: &[u8], tag: u8, text: &str) -> Vec<u8> {
        let pair = der(SEQUENCE, &[&der(OID, &[oid]), &der(tag, &[text.as_bytes()])]);
        der(SET, &[&pair])
    }

    fn certificate(name: &[u8]) -> Vec<u8> {
        let empty = der(SEQUENCE, &[]);
        let serial = der(2, &[&[1]]);
        let version = der(VERSION, &[&der(2, &[&[2]])]);
        let subject = der(SEQUENCE, &[name]);
        let tbs = der(SEQUENCE, &[&version, &serial, &empty, &empty, &empty, &subject, &empty]);
        der(SEQUENCE, &[&tbs, &empty])
    }

    #[test]
    fn the_subject_is_written_as_rfc_2253_says() {
        let name = [
            attribute(&[0x55, 4, 10], 0x13, "Example, Inc."),
            attribute(&[0x55, 4, 11], 0x0c, "#ops "),
            attribute(&[0x55, 4, 3], 0x0c, "alice"),
        ]
        .concat();
        let read = subject(&certificate(&name));
        assert_eq!(read.as_deref(), Some("CN=alice,OU=\\#ops\\ ,O=Example\\, Inc."));
        let mail = attribute(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], 0x16, "a@b");
        let read = subject(&certificate(&mail));
        assert_eq!(read.as_deref(), Some("1.2.840.113549.1.9.1=#1603614062"));
        assert_eq!(subject(&certificate(&[])).as_deref(), Some(""));
    }

    #[test]
    fn no_part_of_a_certificate_and_no_changed_byte_does_harm() {
        let good = certificate(&attribute(&[0x55, 4, 3], 0x0c, "alice"));
        for at in 0..good.len() {
            subject(&good[..at]);
            for value in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut changed = good.clone();
                changed[at] = value;
                subject(&changed);
            }
        }
    }
}
