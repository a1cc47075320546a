//! How commands become calls.

use std::time::Duration;

use tollgate::StoreError;
use tollgate::{
    AccountId, AccountRef, Administration, Command, MAX_NOW_MS, Mode, Outcome, Refusal,
};

use crate::cache::CredentialCache;
use crate::exchange::{Exchange, Io, Nonce};
use crate::keys::Keys;
use crate::{administer, admit, expire, look_up, money, register};

/// What both sides of the wire must agree on, and what is kept on this side.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProtocolOptions {
    /// What every key begins with; stores with different prefixes know nothing of each other. It has no
    /// braces. Default: `tg`.
    pub prefix: String,
    /// Whether the server is a cluster, in which a script reaches the keys of one slot only.
    pub cluster: bool,
    /// How long the server remembers what it answered, so that a call may be sent again: longer than all
    /// tries together take. Zero: it remembers nothing, and no call may be sent again. Default: 10 s.
    pub remember: Duration,
    /// How many tokens' credentials are kept on this side; 0: none. Default: 65,536.
    pub cached_tokens: usize,
}

impl Default for ProtocolOptions {
    fn default() -> Self {
        ProtocolOptions {
            prefix: "tg".into(),
            cluster: false,
            remember: Duration::from_secs(10),
            cached_tokens: 65_536,
        }
    }
}

/// Why there is no store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// A prefix that would change the slots of keys.
    #[error("the prefix is 1 to 64 visible ASCII characters without braces")]
    Prefix,
    /// No URL, or one that cannot be read. It is not repeated: it may have a password.
    #[error("a URL is redis://[USER:PASSWORD@]HOST[:PORT][/DB], or rediss:// for TLS")]
    Url,
    /// A timeout or a number of connections that is zero.
    #[error("{what} must be more than zero")]
    Zero {
        /// Which option.
        what: &'static str,
    },
    /// The certificates or the operating system's randomness cannot be used.
    #[error("{what} cannot be used; look at the options of TLS")]
    Unusable {
        /// What.
        what: &'static str,
    },
}

/// Makes exchanges: pure, but for the credentials that it keeps.
#[derive(Debug)]
pub struct Protocol {
    pub(crate) keys: Keys,
    pub(crate) cluster: bool,
    /// In milliseconds, as an argument of scripts.
    pub(crate) remember_ms: Vec<u8>,
    pub(crate) cache: CredentialCache,
}

impl Protocol {
    /// With these options.
    ///
    /// # Errors
    /// [`OptionsError::Prefix`].
    pub fn new(options: &ProtocolOptions) -> Result<Self, OptionsError> {
        let prefix = &options.prefix;
        let legal = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'{' | b'}');
        if !(1..=64).contains(&prefix.len()) || !prefix.bytes().all(legal) {
            return Err(OptionsError::Prefix);
        }
        Ok(Protocol {
            keys: Keys::new(prefix),
            cluster: options.cluster,
            // Rounded up: less than a millisecond is not nothing.
            remember_ms: options
                .remember
                .as_nanos()
                .div_ceil(1_000_000)
                .min(86_400_000)
                .to_string()
                .into_bytes(),
            cache: CredentialCache::new(options.cached_tokens),
        })
    }

    /// Starts the exchange that performs a command at `now_ms`.
    ///
    /// `nonce` names this exchange among all that are under way at the server, from whatever process.
    #[must_use]
    pub fn exchange<'a>(
        &'a self,
        command: &Command<'a>,
        now_ms: u64,
        nonce: Nonce,
    ) -> Exchange<'a> {
        let command = *command;
        Exchange::start(nonce, move |io| perform(self, io, command, now_ms))
    }
}

async fn perform(
    protocol: &Protocol,
    io: Io,
    command: Command<'_>,
    now_ms: u64,
) -> Result<Outcome, StoreError> {
    if now_ms > MAX_NOW_MS {
        return Ok(Outcome::Refused(Refusal::ClockOutOfRange));
    }
    match command {
        Command::Lookup(lookup) => look_up::look_up(protocol, &io, &lookup, now_ms).await,
        Command::Admit(request) if request.mode == Mode::Apply => {
            admit::apply(protocol, &io, &request, now_ms).await
        }
        Command::Admit(request) => admit::look(protocol, &io, &request, now_ms).await,
        Command::Settle(settle) => money::settle(protocol, &io, &settle, now_ms).await,
        Command::Administer(Administration::Expire) => expire::expire(protocol, &io, now_ms).await,
        Command::Administer(Administration::ListAccounts { after, at_most }) => {
            register::list(protocol, &io, *after, *at_most).await
        }
        Command::Administer(administration) => {
            administer::administer(protocol, &io, administration, now_ms).await
        }
        _ => Err(StoreError::Unavailable {
            reason: "this version of the store does not know the command; use a later one".into(),
        }),
    }
}

/// The account behind a reference: this store gives out names only.
pub(crate) fn named(account: &AccountRef) -> Result<&AccountId, StoreError> {
    match account {
        AccountRef::Id(id) => Ok(id),
        AccountRef::Slot(_) => Err(StoreError::Unavailable {
            reason: "the account reference is another store's; look the token up in this one"
                .into(),
        }),
    }
}
