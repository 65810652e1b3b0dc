//! Decoders of the log: batches, compression, files as `dump-log` reads them, groups, logins.

use std::io;

use millstream_storage::coordinator::protocol::{read_assignment, read_subscription};
use millstream_storage::dump::{self, Options, Source};
use millstream_storage::log::batch::{self, BatchHeader, Codec, RecordIter};
use millstream_storage::log::control::Marker;
use millstream_storage::security::scram::{
    ClientFirst, Credential, ScramMechanism, ServerExchange,
};

use crate::hostile::seeds;

const BUDGET: usize = 1 << 20;

/// Batches one behind the other, as a segment or a request holds them.
pub(super) fn record_batch(data: &[u8]) {
    for found in batch::batches(data) {
        let Ok((header, bytes)) = found else { break };
        assert_eq!(bytes.len(), header.total_bytes, "a batch is as long as it says");
        let _ = (BatchHeader::verify(bytes), BatchHeader::verify_stored(bytes));
        let _ = Marker::read(bytes);
        let Ok((header, body)) = batch::records(bytes, BUDGET) else { continue };
        assert!(body.len() <= BUDGET, "{} bytes of {BUDGET}", body.len());
        for record in RecordIter::new(header, &body) {
            let Ok(record) = record else { break };
            assert_eq!(record.headers().count(), record.header_count(), "headers were checked");
        }
    }
}

pub(super) fn batch_seeds() -> Vec<Vec<u8>> {
    CODECS.iter().map(|codec| seeds::batch(*codec).to_vec()).collect()
}

const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

/// The first byte is the codec's number.
pub(super) fn decompress(data: &[u8]) {
    let Some((codec, body)) = data.split_first() else { return };
    let Ok(codec) = Codec::from_bits(i16::from(*codec)) else { return };
    if let Ok(bytes) = batch::decompress(codec, body, BUDGET) {
        assert!(bytes.len() <= BUDGET, "{} bytes of {BUDGET}", bytes.len());
    }
}

pub(super) fn compressed_seeds() -> Vec<Vec<u8>> {
    let body = |codec: &Codec| {
        let bytes = seeds::batch(*codec);
        [&[codec.bits() as u8], &bytes[batch::HEADER_BYTES..]].concat()
    };
    CODECS.iter().map(body).collect()
}

const DUMPED: [&str; 6] = [
    "00000000000000000000.log",
    "00000000000000000000.index",
    "00000000000000000000.timeindex",
    "00000000000000000000.txnindex",
    "00000000000000000000.snapshot",
    "00000000000000000001.journal",
];

struct Bytes<'a>(&'a [u8]);

impl Source for Bytes<'_> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, position: u64, len: usize) -> io::Result<Vec<u8>> {
        let from = usize::try_from(position).map_or(self.0.len(), |at| at.min(self.0.len()));
        Ok(self.0[from..].iter().take(len).copied().collect())
    }

    fn beside(&self, _: &str) -> Option<Box<dyn Source>> {
        None
    }
}

/// The first byte says what kind of file the others are.
pub(super) fn dump(data: &[u8]) {
    let Some((kind, content)) = data.split_first() else { return };
    let Some(name) = DUMPED.get(usize::from(*kind)) else { return };
    let options = Options { records: true, deep: true };
    // What is damaged is told, not failed at: the source itself has no errors.
    dump::dump(name, &Bytes(content), options, &mut |_| Ok(())).expect("a source in memory");
}

pub(super) fn dump_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> =
        batch_seeds().into_iter().map(|batch| [&[0][..], &batch].concat()).collect();
    seeds.extend((1..DUMPED.len()).map(|kind| [&[kind as u8][..], &[0; 64]].concat()));
    seeds.extend(super::node::directory_seeds().into_iter().map(|mut file| {
        file[0] = 5;
        file
    }));
    seeds
}

/// What members of classic groups tell each other.
pub(super) fn group_protocol(data: &[u8]) {
    let _ = (read_subscription(data), read_assignment(data));
}

pub(super) fn protocol_seeds() -> Vec<Vec<u8>> {
    // version, topics [t], user data, and with version 1 owned partitions t: [0]
    let topics = [&[0, 0, 0, 1, 0, 1][..], b"t"].concat();
    let parts = [&topics[..], &[0, 0, 0, 1, 0, 0, 0, 0]].concat();
    let nothing = [0xff_u8; 4];
    vec![
        [&[0, 0][..], &topics, &nothing].concat(),
        [&[0, 1][..], &topics, &nothing, &parts].concat(),
        [&[0, 0][..], &parts, &nothing].concat(),
    ]
}

/// Both messages of a login, one line each.
pub(super) fn scram(data: &[u8]) {
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    let (Some(first), last) = (lines.next(), lines.next().unwrap_or_default()) else { return };
    let Some(first) = ClientFirst::parse(first) else { return };
    let credential = Credential::from_salted(ScramMechanism::Sha256, 4096, b"salt", &[7; 32]);
    let (exchange, answer) = ServerExchange::start(first, credential, "nonce");
    assert!(answer.starts_with(b"r="), "the server's first message begins with the nonces");
    let _ = (exchange.user(), exchange.finish(last));
}

pub(super) fn scram_seeds() -> Vec<Vec<u8>> {
    [
        "n,,n=user,r=abc\nc=biws,r=abcnonce,p=dGhpcyBpcyBub3QgdGhlIHByb29m",
        "n,a=other,n=us=2Cer,r=abc,tokenauth=true\nc=biws,r=abcnonce,p=",
        "y,,n=user,r=abc\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
