//! What the command line says of the Kafka listeners, in Kafka's own words.
//!
//! ```text
//! --kafka-listener      [NAME:]PROTOCOL://ADDRESS:PORT     PROTOCOL is PLAINTEXT, SSL, SASL_PLAINTEXT
//! --advertised-listener NAME://HOST:PORT                   or SASL_SSL; NAME is PROTOCOL unless given
//! ```
//!
//! The rule: an address that other machines can reach needs encryption and authentication (SASL_SSL,
//! or SSL with required client certificates), or someone who says `--insecure-no-auth`.

use std::io;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::cli::ClientAuth;

/// Kafka's security protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl Protocol {
    /// As Kafka writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    pub fn has_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    pub fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }

    fn named(name: &str) -> Option<Self> {
        let all = [Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl];
        all.into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }
}

/// One address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSpec {
    pub name: String,
    pub protocol: Protocol,
    pub address: SocketAddr,
}

/// Where clients of a listener are told to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    pub name: String,
    pub host: String,
    pub port: u16,
}

impl FromStr for ListenerSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || format!("{text} is not like SASL_SSL://0.0.0.0:9093 or OUTSIDE:SASL_SSL://0.0.0.0:9093");
        let (what, address) = text.split_once("://").ok_or_else(shape)?;
        let (name, protocol) = what.split_once(':').unwrap_or((what, what));
        let protocol = Protocol::named(protocol).ok_or_else(|| {
            format!("{protocol} is not a protocol; there are PLAINTEXT, SSL, SASL_PLAINTEXT and SASL_SSL")
        })?;
        let address = address.parse().map_err(|e| format!("{address}: {e}; {}", shape()))?;
        Ok(ListenerSpec { name: name.to_uppercase(), protocol, address })
    }
}

impl FromStr for Advertised {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || format!("{text} is not like SASL_SSL://kafka.example.com:9093");
        let (name, place) = text.split_once("://").ok_or_else(shape)?;
        let (host, port) = place.rsplit_once(':').ok_or_else(shape)?;
        let port = port.parse().map_err(|_| shape())?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if name.is_empty() || host.is_empty() {
            return Err(shape());
        }
        Ok(Advertised { name: name.to_uppercase(), host: host.to_owned(), port })
    }
}

impl ListenerSpec {
    /// Whether every client has to say, and prove, who it is.
    pub fn authenticates(&self, client_auth: ClientAuth) -> bool {
        self.protocol.has_sasl() || (self.protocol.has_tls() && client_auth == ClientAuth::Required)
    }

    /// # Errors
    /// When other machines can reach it and it is not both encrypted and authenticated.
    pub fn check(&self, client_auth: ClientAuth, insecure: bool) -> io::Result<()> {
        let safe = self.protocol.has_tls() && self.authenticates(client_auth);
        if self.address.ip().is_loopback() || safe || insecure {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "Kafka would listen on {}, which other machines can reach, as {}: without both encryption and authentication.\n\
             Use SASL_SSL, or SSL with --tls-client-auth required; listen on loopback; or accept the risk with --insecure-no-auth.",
            self.address,
            self.protocol.name()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_read_as_kafka_writes_them() {
        for (text, expected) in [
            ("SASL_SSL://0.0.0.0:9093", Some(("SASL_SSL", Protocol::SaslSsl))),
            ("outside:SSL://[::1]:9094", Some(("OUTSIDE", Protocol::Ssl))),
            ("PLAINTEXT://127.0.0.1:0", Some(("PLAINTEXT", Protocol::Plaintext))),
            ("SASL_SSL", None),
            ("TLS://0.0.0.0:1", None),
            ("SSL://example.com:1", None),
            ("SSL://0.0.0.0", None),
        ] {
            let read = text.parse::<ListenerSpec>().ok();
            let read = read.as_ref().map(|spec| (spec.name.as_str(), spec.protocol));
            assert_eq!(read, expected, "{text}");
        }
        let advertised: Advertised = "ssl://kafka.example.com:9093".parse().unwrap();
        assert_eq!((advertised.name.as_str(), advertised.port), ("SSL", 9093));
        assert_eq!("SSL://[::1]:7".parse::<Advertised>().unwrap().host, "::1");
        assert!("SSL://:1".parse::<Advertised>().is_err());
    }

    #[test]
    fn what_others_can_reach_is_encrypted_and_authenticated() {
        use ClientAuth::{None, Required};
        for (text, client_auth, insecure, fine) in [
            ("PLAINTEXT://127.0.0.1:1", None, false, true),
            ("SASL_PLAINTEXT://[::1]:1", None, false, true),
            ("PLAINTEXT://0.0.0.0:1", None, false, false),
            ("SASL_PLAINTEXT://0.0.0.0:1", None, false, false),
            ("SSL://0.0.0.0:1", None, false, false),
            ("SSL://0.0.0.0:1", Required, false, true),
            ("SASL_SSL://10.0.0.1:1", None, false, true),
            ("PLAINTEXT://0.0.0.0:1", None, true, true),
        ] {
            let spec: ListenerSpec = text.parse().unwrap();
            assert_eq!(spec.check(client_auth, insecure).is_ok(), fine, "{text}");
        }
    }
}
