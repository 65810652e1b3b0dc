//! One login: the messages of a SASL mechanism, checked against the stored credentials.
//!
//! PLAIN (RFC 4616) carries the password; it is checked against whichever SCRAM credential the user
//! has, so there is one store for both. What failed is never told apart: a user that is not there,
//! one without a credential for the mechanism, and a wrong password look the same.

use super::Access;
use super::scram::{ClientFirst, Credential, ScramMechanism, ServerExchange};

/// A user's name and a password are never longer, in bytes.
const NAME_MAX: usize = 1024;

/// A way to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaslMechanism {
    Plain,
    Scram(ScramMechanism),
}

impl SaslMechanism {
    pub const ALL: [SaslMechanism; 3] = [
        SaslMechanism::Plain,
        SaslMechanism::Scram(ScramMechanism::Sha256),
        SaslMechanism::Scram(ScramMechanism::Sha512),
    ];

    /// The name in the SASL registry, as clients ask for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Scram(scram) => scram.name(),
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }
}

/// A login under way.
pub struct Exchange {
    mechanism: SaslMechanism,
    scram: Option<Box<ServerExchange>>,
}

/// What a client's message came to.
pub enum SaslStep {
    /// To be sent; the client has the next word.
    Challenge(Vec<u8>),
    /// The user is who it says. `answer` is the last thing it is told.
    Done {
        user: String,
        answer: Vec<u8>,
    },
    Failed,
}

impl Exchange {
    pub fn new(mechanism: SaslMechanism) -> Self {
        Self { mechanism, scram: None }
    }

    pub fn mechanism(&self) -> SaslMechanism {
        self.mechanism
    }

    /// Takes the client's next message. `nonce` must be fresh and random.
    pub fn next(&mut self, access: &Access, message: &[u8], nonce: &str) -> SaslStep {
        match self.mechanism {
            SaslMechanism::Plain => plain(access, message),
            SaslMechanism::Scram(mechanism) => match self.scram.take() {
                None => self.scram_first(access, mechanism, message, nonce),
                Some(exchange) => match exchange.finish(message) {
                    Some(answer) => SaslStep::Done { user: exchange.user().to_owned(), answer },
                    None => SaslStep::Failed,
                },
            },
        }
    }

    fn scram_first(
        &mut self,
        access: &Access,
        mechanism: ScramMechanism,
        message: &[u8],
        nonce: &str,
    ) -> SaslStep {
        let Some(first) = ClientFirst::parse(message) else { return SaslStep::Failed };
        let credential = access.credential(&first.user, mechanism);
        let credential = credential
            .unwrap_or_else(|| Credential::of_nobody(mechanism, &first.user, access.secret()));
        let (exchange, answer) = ServerExchange::start(first, credential, nonce);
        self.scram = Some(Box::new(exchange));
        SaslStep::Challenge(answer)
    }
}

/// `[acts for] NUL user NUL password`.
fn plain(access: &Access, message: &[u8]) -> SaslStep {
    let mut parts = message.split(|byte| *byte == 0).map(std::str::from_utf8);
    let (Some(Ok(acts_for)), Some(Ok(user)), Some(Ok(password)), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return SaslStep::Failed;
    };
    let sane = |text: &str| !text.is_empty() && text.len() <= NAME_MAX;
    let acts_for_self = acts_for.is_empty() || acts_for == user;
    if sane(user) && sane(password) && acts_for_self && access.is_password(user, password) {
        return SaslStep::Done { user: user.to_owned(), answer: Vec::new() };
    }
    SaslStep::Failed
}
