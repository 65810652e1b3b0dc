//! A small HTTP/1.1 client for harnesses: one request per connection, answers read whole.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Answers bigger than this are refused.
const BODY_BYTES_MAX: u64 = 256 << 20;

/// A status and a body.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

/// Sends one request and reads the whole answer.
///
/// # Errors
/// When the server cannot be reached, breaks off, or answers with something that is not HTTP.
pub fn request(
    address: &str,
    method: &str,
    path: &str,
    accept: &str,
    body: &str,
    timeout: Duration,
) -> Result<Answer, String> {
    let at = |e: std::io::Error| format!("{method} {path}: {e}");
    let socket = address.parse().map_err(|_| format!("address {address}"))?;
    let mut stream = TcpStream::connect_timeout(&socket, timeout).map_err(at)?;
    stream.set_read_timeout(Some(timeout)).map_err(at)?;
    stream.set_write_timeout(Some(timeout)).map_err(at)?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAccept: {accept}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body.as_bytes()))
        .map_err(at)?;
    let mut bytes = Vec::new();
    stream.take(BODY_BYTES_MAX).read_to_end(&mut bytes).map_err(at)?;
    parse(&bytes).ok_or_else(|| format!("{method} {path}: not an HTTP answer"))
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?.to_ascii_lowercase();
    let status = head.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let body = &bytes[end + 4..];
    let chunked =
        head.lines().any(|l| l.starts_with("transfer-encoding:") && l.contains("chunked"));
    let body = if chunked { dechunk(body)? } else { body.to_vec() };
    Some(Answer { status, body: String::from_utf8(body).ok()? })
}

fn dechunk(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|w| w == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[..end]).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        bytes = &bytes[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(bytes.get(..size)?);
        bytes = bytes.get(size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn plain_and_chunked_answers_are_read() {
        let plain = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        assert_eq!((plain.status, plain.body.as_str()), (200, "ok"));
        let chunked =
            b"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n";
        let chunked = parse(chunked).unwrap();
        assert_eq!((chunked.status, chunked.body.as_str()), (400, "abcde"));
        assert!(parse(b"nothing").is_none());
    }
}
