//! One recorded request, whatever the log's format was.

use std::net::IpAddr;

use tollgate::{MAX_NOW_MS, STATUS_TABLE, Status, TokenFormat, TokenText, Verdict, digest};

/// Why a line is no record. It never has anything of the line in it, which may hold secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadLine {
    #[error("longer than {} bytes", super::lines::MAX_LINE_BYTES)]
    TooLong,
    #[error("no JSON object, as of column {column}")]
    NotJson { column: usize },
    #[error("a member has the wrong type, at column {column}")]
    WrongType { column: usize },
    #[error("no `now_ms` and no `time`")]
    NoTime,
    #[error("the time is neither RFC 3339 nor Unix milliseconds from 1970 to 2527")]
    Time,
    #[error("no `method`")]
    NoMethod,
    #[error("no `target` and no `path`")]
    NoTarget,
    #[error("not the combined format: ADDRESS - USER [TIME] \"REQUEST\" STATUS …")]
    NotCombined,
    #[error("the time is not as in [29/Nov/2026:11:10:18 +0000], or is before 1970")]
    CombinedTime,
}

/// What a line held.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    Record(Box<Record>),
    /// A server's note on what was no HTTP request: no policy was ever asked about it.
    NotHttp,
}

/// By what requests are told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IdentityRule {
    /// The token, else the account, else the remote user, else the source address.
    First,
    Token,
    Account,
    User,
    Source,
    /// Another member of JSON lines.
    Field(String),
}

/// Which kind of name an identity goes by: the same text may be a user and an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Token,
    Account,
    User,
    Source,
    Field,
}

/// What tells one caller from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    pub(crate) kind: Kind,
    pub(crate) text: Box<str>,
}

/// The names that a line has.
#[derive(Debug, Default)]
pub(crate) struct Names<'a> {
    pub(crate) token: Option<&'a str>,
    pub(crate) account: Option<&'a str>,
    pub(crate) user: Option<&'a str>,
    pub(crate) source: Option<&'a str>,
    pub(crate) field: Option<&'a str>,
}

impl IdentityRule {
    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "token" => IdentityRule::Token,
            "account" => IdentityRule::Account,
            "user" => IdentityRule::User,
            "source" => IdentityRule::Source,
            field => IdentityRule::Field(field.to_owned()),
        }
    }

    pub(crate) fn field(&self) -> Option<&str> {
        match self {
            IdentityRule::Field(field) => Some(field),
            _ => None,
        }
    }

    pub(crate) fn pick(&self, names: &Names<'_>) -> Option<Name> {
        let token = (Kind::Token, names.token);
        let account = (Kind::Account, names.account);
        let user = (Kind::User, names.user);
        let source = (Kind::Source, names.source);
        let picked = match self {
            IdentityRule::First => [token, account, user, source]
                .into_iter()
                .find(|(_, text)| text.is_some_and(|text| !text.is_empty()))?,
            IdentityRule::Token => token,
            IdentityRule::Account => account,
            IdentityRule::User => user,
            IdentityRule::Source => source,
            IdentityRule::Field(_) => (Kind::Field, names.field),
        };
        let (kind, text) = (picked.0, picked.1.filter(|text| !text.is_empty())?);
        Some(Name { kind, text: without_secret(text) })
    }
}

/// Whoever logged the token itself still finds its digest alone in the report.
fn without_secret(text: &str) -> Box<str> {
    match TokenText::parse(TokenFormat::Native, text) {
        Ok(_) => token_name(text.as_bytes()),
        Err(_) => text.into(),
    }
}

/// How decision logs name a token: the first 16 digits of its digest.
pub(crate) fn token_name(token: &[u8]) -> Box<str> {
    digest(token, None).to_string().chars().take(16).collect::<String>().into()
}

/// The credential that a request came with, as far as the log tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    /// None was sent.
    None,
    /// One was sent that was not valid.
    Invalid,
    /// That of this caller.
    Of(Name),
}

/// What became of a request when it was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// HTTP status.
    pub(crate) status: Option<u16>,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) code: Option<Code>,
}

/// A recorded code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Known(Status),
    /// One that this engine does not give.
    Other,
}

impl Code {
    pub(crate) fn of(text: &str) -> Self {
        STATUS_TABLE
            .iter()
            .find(|row| row.code == text)
            .map_or(Code::Other, |row| Code::Known(row.status))
    }
}

impl Outcome {
    pub(crate) fn is(&self, status: Status) -> bool {
        self.code == Some(Code::Known(status))
    }

    /// Whether the request never reached what was to answer it.
    pub(crate) fn was_denied(&self) -> bool {
        match (self.code, self.verdict) {
            (Some(Code::Known(status)), _) => status.is_denial(),
            (_, verdict) => verdict == Some(Verdict::Deny),
        }
    }

    /// Without a code a 401 is all that tells of a credential that was not valid.
    pub(crate) fn credential(&self, name: Option<Name>) -> Credential {
        let refused = self.code.is_none()
            && self.verdict.is_none_or(|verdict| verdict == Verdict::Deny)
            && self.status == Some(401);
        match name {
            _ if self.is(Status::MissingToken) => Credential::None,
            _ if self.is(Status::InvalidToken) || refused => Credential::Invalid,
            Some(name) => Credential::Of(name),
            None => Credential::None,
        }
    }
}

/// One recorded request. Without `Debug` of headers, targets and keys, which may hold secrets.
#[derive(PartialEq, Eq)]
pub(crate) struct Record {
    /// Unix milliseconds, at most [`MAX_NOW_MS`].
    pub(crate) now_ms: u64,
    pub(crate) method: Box<[u8]>,
    pub(crate) target: Box<[u8]>,
    pub(crate) peer: Option<IpAddr>,
    /// Those that were recorded, without `Authorization`.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) credential: Credential,
    /// The account, where the log names it beside the token.
    pub(crate) account: Option<Box<str>>,
    /// What stands for the idempotency key.
    pub(crate) key: Option<Box<str>>,
    pub(crate) price: Price,
    pub(crate) sender: Option<Box<str>>,
    pub(crate) invalid: Option<Box<str>>,
    /// It was only asked what would be decided.
    pub(crate) peek: bool,
    pub(crate) outcome: Outcome,
}

/// What a recorded request cost.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Price {
    /// What the host said.
    pub(crate) cost: Option<u64>,
    /// What was reserved: the host's price or the route's, nobody knows which.
    pub(crate) reserved: Option<u64>,
    /// What was posted.
    pub(crate) charged: Option<u64>,
    /// The route that it was reserved for.
    pub(crate) route: Option<Box<str>>,
}

impl Record {
    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        let headers =
            self.headers.iter().map(|(name, value)| name.len().saturating_add(value.len()));
        let texts = [&self.account, &self.key, &self.sender, &self.invalid, &self.price.route];
        let lengths = texts.into_iter().flatten().map(|text| text.len());
        headers
            .chain(lengths)
            .chain([self.method.len(), self.target.len(), size_of::<Record>()])
            .fold(0, usize::saturating_add)
    }
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("now_ms", &self.now_ms)
            .field("peer", &self.peer)
            .field("credential", &self.credential)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

/// A time that the engine takes.
pub(crate) fn checked_ms(now_ms: i128) -> Option<u64> {
    u64::try_from(now_ms).ok().filter(|now_ms| *now_ms <= MAX_NOW_MS)
}

/// The milliseconds of a time that `time` has read.
pub(crate) fn unix_ms(time: time::OffsetDateTime) -> Option<u64> {
    checked_ms(time.unix_timestamp_nanos().div_euclid(1_000_000))
}
