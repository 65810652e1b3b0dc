//! SCRAM-SHA-256 and SCRAM-SHA-512: what is stored of a password, and the proof that someone has it
//! (RFC 5802, RFC 7677), as Kafka brokers do it.
//!
//! ```text
//! salted password = PBKDF2(password, salt, iterations)
//! stored key      = H(HMAC(salted password, "Client Key"))
//! server key      = HMAC(salted password, "Server Key")
//!
//! client first    n,,n=user,r=client nonce
//! server first    r=client nonce + server nonce,s=salt,i=iterations
//! client final    c=biws,r=nonces,p=proof
//! server final    v=signature
//! ```
//!
//! Only salt, iterations, stored key and server key are kept: with them a password can be checked,
//! and neither found nor used elsewhere.
//!
//! Invariants:
//! - a user that is not there takes the same messages and the same time as a wrong password;
//! - the nonce that comes back is compared (CVE-2024-56128), and so is the channel binding;
//! - secrets are compared in constant time (CVE-2021-38153).

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

/// Fewest rounds a stored credential may have (RFC 7677, Kafka's own minimum).
pub const ITERATIONS_MIN: u32 = 4096;
/// Most rounds (Kafka's own maximum): a login costs this much time.
pub const ITERATIONS_MAX: u32 = 16384;
/// Rounds of credentials made here.
pub const ITERATIONS: u32 = 8192;
/// A message of the exchange is never longer.
const MESSAGE_MAX: usize = 4096;

/// Which hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ScramMechanism {
    Sha256 = 1,
    Sha512 = 2,
}

impl ScramMechanism {
    pub const ALL: [ScramMechanism; 2] = [ScramMechanism::Sha256, ScramMechanism::Sha512];

    /// Kafka's number (`ScramMechanism`, KIP-554).
    pub fn from_code(code: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.code() == code)
    }

    pub fn code(self) -> i8 {
        self as i8
    }

    /// The name in the SASL registry.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    /// Bytes of a hash, and so of every key.
    pub fn key_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    fn hash(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    fn hmac(self, key: &[u8], bytes: &[u8]) -> Vec<u8> {
        const ANY_LENGTH: &str = "HMAC takes keys of any length";
        match self {
            Self::Sha256 => {
                let mut mac = Hmac::<Sha256>::new_from_slice(key).expect(ANY_LENGTH);
                mac.update(bytes);
                mac.finalize().into_bytes().to_vec()
            }
            Self::Sha512 => {
                let mut mac = Hmac::<Sha512>::new_from_slice(key).expect(ANY_LENGTH);
                mac.update(bytes);
                mac.finalize().into_bytes().to_vec()
            }
        }
    }

    /// The salted password.
    pub fn salt_password(self, password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
        let mut salted = vec![0; self.key_bytes()];
        match self {
            Self::Sha256 => {
                pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut salted);
            }
            Self::Sha512 => {
                pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, iterations, &mut salted);
            }
        }
        salted
    }
}

/// What is kept of a password. It has no `Debug`: it must not get into a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    pub mechanism: ScramMechanism,
    pub iterations: u32,
    pub salt: Vec<u8>,
    pub stored_key: Vec<u8>,
    pub server_key: Vec<u8>,
}

impl Credential {
    /// From the salted password, which is what AlterUserScramCredentials carries.
    pub fn from_salted(
        mechanism: ScramMechanism,
        iterations: u32,
        salt: &[u8],
        salted: &[u8],
    ) -> Self {
        Self {
            mechanism,
            iterations,
            salt: salt.to_vec(),
            stored_key: mechanism.hash(&mechanism.hmac(salted, b"Client Key")),
            server_key: mechanism.hmac(salted, b"Server Key"),
        }
    }

    /// From the password itself.
    pub fn from_password(mechanism: ScramMechanism, password: &str, salt: &[u8]) -> Self {
        let salted = mechanism.salt_password(password.as_bytes(), salt, ITERATIONS);
        Self::from_salted(mechanism, ITERATIONS, salt, &salted)
    }

    /// Whether this is the password: how PLAIN and HTTP's Basic check it.
    pub fn is_password(&self, password: &str) -> bool {
        let mechanism = self.mechanism;
        let salted = mechanism.salt_password(password.as_bytes(), &self.salt, self.iterations);
        let key = mechanism.hash(&mechanism.hmac(&salted, b"Client Key"));
        key.ct_eq(&self.stored_key).into()
    }

    /// A credential that no password fits, for a user that is not there. It is the same each time,
    /// as a real one would be, and differs between servers by their `secret`.
    pub fn of_nobody(mechanism: ScramMechanism, user: &str, secret: &[u8]) -> Self {
        let salt = mechanism.hmac(secret, user.as_bytes())[..16].to_vec();
        let unknown = mechanism.hmac(secret, &salt);
        Self {
            mechanism,
            iterations: ITERATIONS,
            salt,
            stored_key: unknown.clone(),
            server_key: unknown,
        }
    }
}

/// The first message of a client.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientFirst {
    pub user: String,
    nonce: String,
    /// The message without the part about channel binding.
    bare: String,
    gs2: String,
}

impl ClientFirst {
    /// `None` when it is malformed, asks for channel binding or to act for someone else.
    pub fn parse(message: &[u8]) -> Option<ClientFirst> {
        let message = std::str::from_utf8(message).ok().filter(|m| m.len() <= MESSAGE_MAX)?;
        let mut parts = message.splitn(3, ',');
        let (binding, acts_for, bare) = (parts.next()?, parts.next()?, parts.next()?);
        if binding != "n" && binding != "y" {
            return None;
        }
        let mut attributes = bare.split(',');
        let user = unescape(attributes.next()?.strip_prefix("n=")?)?;
        let nonce = attributes.next()?.strip_prefix("r=")?;
        // An extension that is not known may be left out of account, except for delegation tokens.
        if attributes.any(|attribute| attribute.starts_with("tokenauth=")) {
            return None;
        }
        let acts_for_self = match acts_for.strip_prefix("a=") {
            None => acts_for.is_empty(),
            Some(other) => unescape(other)? == user,
        };
        let printable = |c: char| c.is_ascii_graphic();
        if !acts_for_self || user.is_empty() || nonce.is_empty() || !nonce.chars().all(printable) {
            return None;
        }
        Some(ClientFirst {
            user,
            nonce: nonce.to_owned(),
            bare: bare.to_owned(),
            gs2: format!("{binding},{acts_for},"),
        })
    }
}

/// `=2C` is a comma and `=3D` an equals sign; any other `=` is malformed.
fn unescape(name: &str) -> Option<String> {
    let mut pieces = name.split('=');
    let mut out = pieces.next()?.to_owned();
    for piece in pieces {
        let (escape, rest) = piece.split_at_checked(2)?;
        out.push(match escape {
            "2C" => ',',
            "3D" => '=',
            _ => return None,
        });
        out.push_str(rest);
    }
    Some(out)
}

/// The server's side between its two messages.
pub struct ServerExchange {
    first: ClientFirst,
    credential: Credential,
    nonces: String,
    server_first: String,
}

impl ServerExchange {
    /// Starts, with a nonce that was never used before. Gives the server's first message with it.
    pub fn start(first: ClientFirst, credential: Credential, nonce: &str) -> (Self, Vec<u8>) {
        let nonces = format!("{}{nonce}", first.nonce);
        let salt = BASE64.encode(&credential.salt);
        let server_first = format!("r={nonces},s={salt},i={}", credential.iterations);
        let message = server_first.clone().into_bytes();
        (Self { first, credential, nonces, server_first }, message)
    }

    /// The user that wants to be known.
    pub fn user(&self) -> &str {
        &self.first.user
    }

    /// Checks the client's final message. Gives the server's, or `None` if it proves nothing.
    pub fn finish(&self, message: &[u8]) -> Option<Vec<u8>> {
        let message = std::str::from_utf8(message).ok().filter(|m| m.len() <= MESSAGE_MAX)?;
        let (without_proof, proof) = message.rsplit_once(",p=")?;
        let mut attributes = without_proof.split(',');
        let binding = attributes.next()?.strip_prefix("c=")?;
        let nonces = attributes.next()?.strip_prefix("r=")?;
        let proof = BASE64.decode(proof).ok()?;
        let Credential { mechanism, stored_key, server_key, .. } = &self.credential;
        let signed = format!("{},{},{without_proof}", self.first.bare, self.server_first);
        let client_signature = mechanism.hmac(stored_key, signed.as_bytes());
        if proof.len() != client_signature.len() {
            return None;
        }
        let client_key: Vec<u8> =
            proof.iter().zip(&client_signature).map(|(proof, bits)| proof ^ bits).collect();
        let proved = mechanism.hash(&client_key).ct_eq(stored_key);
        let same_nonces = nonces.as_bytes().ct_eq(self.nonces.as_bytes());
        let same_binding = binding.as_bytes().ct_eq(BASE64.encode(&self.first.gs2).as_bytes());
        if !bool::from(proved & same_nonces & same_binding) {
            return None;
        }
        let signature = mechanism.hmac(server_key, signed.as_bytes());
        Some(format!("v={}", BASE64.encode(signature)).into_bytes())
    }
}

/// What a client sends, for harnesses and for the tests here.
#[cfg(test)]
pub(super) mod client {
    use super::*;

    pub(crate) fn first(user: &str, nonce: &str) -> Vec<u8> {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        format!("n,,n={user},r={nonce}").into_bytes()
    }

    /// The client's final message for the server's first.
    pub(crate) fn last(
        mechanism: ScramMechanism,
        first: &[u8],
        password: &str,
        server_first: &[u8],
    ) -> Vec<u8> {
        let server_first = std::str::from_utf8(server_first).unwrap();
        let bare = std::str::from_utf8(first).unwrap().strip_prefix("n,,").unwrap();
        let mut parts = server_first.split(',');
        let nonces = parts.next().unwrap();
        let salt = BASE64.decode(parts.next().unwrap().strip_prefix("s=").unwrap()).unwrap();
        let rounds = parts.next().unwrap().strip_prefix("i=").unwrap().parse().unwrap();
        let salted = mechanism.salt_password(password.as_bytes(), &salt, rounds);
        let client_key = mechanism.hmac(&salted, b"Client Key");
        let without_proof = format!("c=biws,{nonces}");
        let signed = format!("{bare},{server_first},{without_proof}");
        let signature = mechanism.hmac(&mechanism.hash(&client_key), signed.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        format!("{without_proof},p={}", BASE64.encode(proof)).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677 §3, byte for byte.
    #[test]
    fn the_example_of_rfc_7677_passes() {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let mechanism = ScramMechanism::Sha256;
        let salted = mechanism.salt_password(b"pencil", &salt, 4096);
        let credential = Credential::from_salted(mechanism, 4096, &salt, &salted);
        let first = ClientFirst::parse(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap();
        let (exchange, message) =
            ServerExchange::start(first, credential, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
        assert_eq!(
            std::str::from_utf8(&message).unwrap(),
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let last = exchange.finish(
            b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        );
        assert_eq!(
            std::str::from_utf8(&last.unwrap()).unwrap(),
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
    }

    #[test]
    fn the_right_password_proves_itself_and_no_other_does() {
        for mechanism in ScramMechanism::ALL {
            let stored = Credential::from_password(mechanism, "right", b"0123456789abcdef");
            assert!(stored.is_password("right") && !stored.is_password("wrong"));
            let nobody = Credential::of_nobody(mechanism, "nobody", b"secret");
            for (credential, password, expected) in [
                (&stored, "right", true),
                (&stored, "wrong", false),
                (&stored, "", false),
                (&nobody, "right", false),
            ] {
                let hello = client::first("a=b,c", "nonce");
                let first = ClientFirst::parse(&hello).unwrap();
                assert_eq!(first.user, "a=b,c");
                let (exchange, message) =
                    ServerExchange::start(first, credential.clone(), "server");
                let last = client::last(mechanism, &hello, password, &message);
                assert_eq!(exchange.finish(&last).is_some(), expected, "{password}");
            }
        }
    }

    #[test]
    fn a_final_message_with_anything_changed_proves_nothing() {
        let mechanism = ScramMechanism::Sha256;
        let stored = Credential::from_password(mechanism, "right", b"0123456789abcdef");
        let hello = client::first("a", "nonce");
        let start = |nonce| {
            let first = ClientFirst::parse(&hello).unwrap();
            ServerExchange::start(first, stored.clone(), nonce)
        };
        let (exchange, message) = start("one");
        let good = client::last(mechanism, &hello, "right", &message);
        assert!(exchange.finish(&good).is_some());
        // A proof made for another exchange, and every single byte changed or missing.
        let (other, _) = start("two");
        assert!(other.finish(&good).is_none());
        for at in 0..good.len() {
            let mut changed = good.clone();
            changed[at] ^= 1;
            assert!(exchange.finish(&changed).is_none(), "byte {at}");
            assert!(exchange.finish(&good[..at]).is_none(), "cut at {at}");
        }
    }

    #[test]
    fn malformed_first_messages_are_refused() {
        for message in [
            "",
            "n,,",
            "n,,n=user",
            "n,,n=,r=x",
            "n,,n=user,r=",
            "n,,n=us=er,r=x",
            "n,,n=us=2Xer,r=x",
            "p=tls-unique,,n=user,r=x",
            "n,a=other,n=user,r=x",
            "n,,m=ext,n=user,r=x",
            "n,,n=user,r=x,tokenauth=true",
            "n,,n=user,r=\u{e4}",
        ] {
            assert_eq!(ClientFirst::parse(message.as_bytes()), None, "{message}");
        }
        assert!(ClientFirst::parse(b"n,a=user,n=user,r=x").is_some());
        assert!(ClientFirst::parse(b"n,,n=\xff,r=x").is_none());
    }
}
