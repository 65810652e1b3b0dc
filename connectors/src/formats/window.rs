//! Windowed keys on the wire: what stands behind the key's own bytes.
//!
//! Time windows: key ‖ 8-byte start. Sessions: key ‖ 8-byte end ‖ 8-byte start. Big-endian
//! milliseconds. The size of a time window is not in the bytes.

use millstream_sql::catalog::KeyWindow;

use super::DecodeError;

/// Start and end of a window; for sessions the end is the time of the last event, else exclusive.
pub type Bounds = (i64, i64);

/// Splits a windowed key into the key's own bytes and the window.
///
/// # Errors
/// When there are too few bytes.
pub fn split(key: &[u8], window: KeyWindow) -> Result<(&[u8], Bounds), DecodeError> {
    let short = || DecodeError::new("the key is too short to carry a window");
    match window {
        KeyWindow::Time { size_ms, .. } => {
            let (key, start) = key.split_last_chunk::<8>().ok_or_else(short)?;
            let start = i64::from_be_bytes(*start);
            // As Kafka Streams: a window never ends beyond the end of time.
            Ok((key, (start, start.saturating_add(size_ms))))
        }
        KeyWindow::Session => {
            let (rest, start) = key.split_last_chunk::<8>().ok_or_else(short)?;
            let (key, end) = rest.split_last_chunk::<8>().ok_or_else(short)?;
            Ok((key, (i64::from_be_bytes(*start), i64::from_be_bytes(*end))))
        }
    }
}

/// Writes the window behind the key's own bytes.
pub fn append(key: &mut Vec<u8>, window: KeyWindow, (start, end): Bounds) {
    if window == KeyWindow::Session {
        key.extend_from_slice(&end.to_be_bytes());
    }
    key.extend_from_slice(&start.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_come_back_from_the_wire() {
        let check = |window, bounds, bytes: usize| {
            let mut key = b"k".to_vec();
            append(&mut key, window, bounds);
            assert_eq!(key.len(), 1 + bytes);
            assert_eq!(split(&key, window).unwrap(), (&b"k"[..], bounds));
            assert!(split(&key[..bytes - 1], window).is_err());
        };
        check(KeyWindow::Time { size_ms: 10, hopping: false }, (1_000, 1_010), 8);
        check(KeyWindow::Session, (1_000, 1_234), 16);
    }
}
