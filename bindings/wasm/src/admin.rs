//! Administration: calls and answers as JSON.

use core::mem::{replace, take};

use serde::Deserialize;
use serde::de::IntoDeserializer;
use tollgate::{
    AccountId, AccountPatch, AccountRef, AccountView, Administration, Amount, Command, Engine,
    Finish, IpNet, Outcome, Period, Reservation, ReservationId, ReservationState, SpendCap,
    StoreError, Token, TokenDigest, TokenPatch, TokenQuota, TokenText, parse_network,
};

use crate::buffer::with_input;
use crate::error::Fault;
use crate::flat::read_ending;
use crate::json::{Json, JsonText, Members, number, text, unfit};
use crate::work::Ask;

/// A call, with all that its command borrows.
#[derive(Debug)]
pub(crate) enum Call {
    PutAccount { account: AccountId, opening_balance: Amount, settings: AccountPatch },
    PutToken { digest: TokenDigest, account: AccountId, settings: TokenPatch },
    RotateToken { old: TokenDigest, new: TokenDigest, grace_ms: u64 },
    RevokeToken { digest: TokenDigest },
    Deposit { account: AccountId, amount: Amount },
    Refund { account: AccountRef, reservation: ReservationId, amount: Amount, reference: String },
    Resolve { account: AccountId, reservation: ReservationId, finish: Finish },
    Inspect { account: AccountId },
    ListAccounts { after: Option<AccountId>, at_most: usize },
    ListTokens { account: AccountId },
    ListReservations { account: AccountId },
    Expire,
}

/// Names of accounts in one answer, where none is asked for.
const AT_MOST: usize = 1_000;

impl Call {
    /// Reads a call; what an operator says of an end stands in the first `len` bytes of the input.
    pub(crate) fn read(call: &str, engine: &Engine, len: usize) -> Result<Self, Fault> {
        let mut asked = Members::read(call)?;
        let call = match &*asked.text("op")? {
            "put_account" => Call::PutAccount {
                account: asked.account("id")?,
                opening_balance: Amount(asked.optional_number("balance")?.unwrap_or(0)),
                settings: AccountPatch {
                    networks: asked.networks()?,
                    spend_caps: asked.caps()?,
                    senders: asked.texts("senders")?,
                },
            },
            "put_token" => Call::PutToken {
                digest: digest(engine, &asked.text("token")?)?,
                account: asked.account("account")?,
                settings: TokenPatch {
                    scopes: asked.texts("scopes")?,
                    networks: asked.networks()?,
                    quota: asked.quota()?,
                    spend_caps: asked.caps()?,
                    expires_ms: asked.expiry()?,
                },
            },
            "rotate_token" => Call::RotateToken {
                old: asked.token(engine)?,
                new: digest(engine, &asked.text("replacement")?)?,
                grace_ms: asked.number("graceMs")?,
            },
            "revoke_token" => Call::RevokeToken { digest: asked.token(engine)? },
            "deposit" => Call::Deposit {
                account: asked.account("account")?,
                amount: Amount(asked.number("amount")?),
            },
            "refund" => Call::Refund {
                account: AccountRef::Id(asked.account("account")?),
                reservation: ReservationId(asked.number("reservation")?),
                amount: Amount(asked.number("amount")?),
                reference: asked.text("reference")?,
            },
            "resolve" => Call::Resolve {
                account: asked.account("account")?,
                reservation: ReservationId(asked.number("reservation")?),
                finish: with_input(len, read_ending)?.finish,
            },
            "account" => Call::Inspect { account: asked.account("id")? },
            "accounts" => {
                let after = asked.optional("after");
                let at_most = asked.optional_number("atMost")?;
                Call::ListAccounts {
                    after: after.map(|after| account(&text(after, "after")?)).transpose()?,
                    at_most: at_most.map_or(AT_MOST, |it| usize::try_from(it).unwrap_or(AT_MOST)),
                }
            }
            "tokens" => Call::ListTokens { account: asked.account("account")? },
            "reservations" => Call::ListReservations { account: asked.account("account")? },
            "expire" => Call::Expire,
            _ => return Err(unfit("op", "the name of something that operators do")),
        };
        asked.end()?;
        Ok(call)
    }

    /// The command; settings go over to it.
    fn command(&mut self) -> Administration<'_> {
        match self {
            Call::PutAccount { account, opening_balance, settings } => Administration::PutAccount {
                account,
                opening_balance: *opening_balance,
                settings: take(settings),
            },
            Call::PutToken { digest, account, settings } => {
                Administration::PutToken { digest, account, settings: take(settings) }
            }
            Call::RotateToken { old, new, grace_ms } => {
                Administration::RotateToken { old, new, grace_ms: *grace_ms }
            }
            Call::RevokeToken { digest } => Administration::RevokeToken { digest },
            Call::Deposit { account, amount } => {
                Administration::Deposit { account, amount: *amount }
            }
            Call::Refund { account, reservation, amount, reference } => Administration::Refund {
                account,
                reservation: *reservation,
                amount: *amount,
                reference,
            },
            Call::Resolve { account, reservation, finish } => Administration::Resolve {
                account,
                reservation: *reservation,
                finish: replace(finish, Finish::Unknown),
            },
            Call::Inspect { account } => Administration::Inspect { account },
            Call::ListAccounts { after, at_most } => {
                Administration::ListAccounts { after: after.as_ref(), at_most: *at_most }
            }
            Call::ListTokens { account } => Administration::ListTokens { account },
            Call::ListReservations { account } => Administration::ListReservations { account },
            Call::Expire => Administration::Expire,
        }
    }
}

/// Members that several calls have.
impl Members {
    fn account(&mut self, name: &str) -> Result<AccountId, Fault> {
        account(&self.text(name)?)
    }

    /// A token by its text, or by its digest, which an operator sees in lists.
    fn token(&mut self, engine: &Engine) -> Result<TokenDigest, Fault> {
        match self.required("token")? {
            Json::Text(text) => digest(engine, &text),
            named => {
                let mut named = Members::of(named, "token")?;
                let digest = named.text("digest")?;
                named.end()?;
                TokenDigest::from_hex(&digest).map_err(|error| Fault::invalid(error.to_string()))
            }
        }
    }

    fn texts(&mut self, name: &str) -> Result<Option<Vec<Box<str>>>, Fault> {
        let Some(items) = self.list(name)? else { return Ok(None) };
        let mut texts = Vec::new();
        for item in items {
            texts.push(text(item, name)?.into());
        }
        Ok(Some(texts))
    }

    fn networks(&mut self) -> Result<Option<Vec<IpNet>>, Fault> {
        let Some(texts) = self.texts("networks")? else { return Ok(None) };
        let mut networks = Vec::new();
        for text in texts {
            let network = parse_network(&text);
            networks.push(network.map_err(|error| Fault::invalid(error.to_string()))?);
        }
        Ok(Some(networks))
    }

    fn caps(&mut self) -> Result<Option<Vec<SpendCap>>, Fault> {
        let Some(items) = self.list("spendCaps")? else { return Ok(None) };
        let mut caps = Vec::new();
        for item in items {
            let mut cap = Members::of(item, "spendCaps")?;
            let (per, amount) = (period(&cap.text("per")?)?, Amount(cap.number("amount")?));
            let shadow = cap.flag("shadow")?;
            cap.end()?;
            caps.push(SpendCap { per, amount, shadow });
        }
        Ok(Some(caps))
    }

    /// `null` takes it away.
    fn quota(&mut self) -> Result<Option<Option<TokenQuota>>, Fault> {
        let Some(quota) = self.given("quota") else { return Ok(None) };
        if quota == Json::Null {
            return Ok(Some(None));
        }
        let mut quota = Members::of(quota, "quota")?;
        let (limit, window_ms) = (quota.number("limit")?, quota.number("windowMs")?);
        quota.end()?;
        Ok(Some(Some(TokenQuota { limit, window_ms })))
    }

    /// `null` takes it away.
    fn expiry(&mut self) -> Result<Option<Option<u64>>, Fault> {
        let name = "expiresMs";
        match self.given(name) {
            None => Ok(None),
            Some(Json::Null) => Ok(Some(None)),
            Some(at) => Ok(Some(Some(number(at, name)?))),
        }
    }
}

fn account(id: &str) -> Result<AccountId, Fault> {
    AccountId::new(id).map_err(|error| Fault::invalid(error.to_string()))
}

fn digest(engine: &Engine, text: &str) -> Result<TokenDigest, Fault> {
    let text = TokenText::parse(engine.policy().token_format(), text)
        .map_err(|error| Fault::invalid(error.to_string()))?;
    Ok(engine.digest(&text))
}

fn period(name: &str) -> Result<Period, Fault> {
    let period: Result<_, serde::de::value::Error> = Period::deserialize(name.into_deserializer());
    period.map_err(|_| unfit("per", "\"day\", \"month\" or \"lifetime\""))
}

/// Performs a call; the answer is JSON.
pub(crate) async fn administer(
    mut call: Call,
    now_ms: u64,
    store: &impl Ask,
) -> Result<String, Fault> {
    let command = call.command();
    let answer = store.ask(&Command::Administer(&command), now_ms).await;
    write_answer(answer?)
}

fn write_answer(answer: Outcome) -> Result<String, Fault> {
    let mut json = JsonText::default();
    match answer {
        Outcome::Refused(refusal) => return Err(refusal.into()),
        Outcome::Done => json.word("null"),
        Outcome::Settled(settled) => json.optional(settled.posted.map(|posted| posted.0)),
        Outcome::Account(view) => write_account(&mut json, &view),
        Outcome::Accounts(names) => json.texts(names.iter().map(AccountId::as_str)),
        Outcome::Tokens(tokens) => {
            json.word("[");
            for (digest, token) in &tokens {
                write_token(&mut json, digest, token);
            }
            json.close(']')
        }
        Outcome::Reservations(reservations) => {
            json.word("[");
            for (id, reservation) in &reservations {
                write_reservation(&mut json, *id, reservation);
            }
            json.close(']')
        }
        Outcome::Expired(ended) => json.number(ended),
        _ => return Err(StoreError::WrongOutcome.into()),
    };
    Ok(json.into_string())
}

fn write_networks(json: &mut JsonText, networks: &[IpNet]) {
    json.name("networks").word("[");
    for network in networks {
        json.shown(network);
    }
    json.close(']');
}

fn write_caps(json: &mut JsonText, caps: &[SpendCap]) {
    json.name("spendCaps").word("[");
    for cap in caps {
        json.word("{").name("per").variant(&cap.per);
        json.name("amount").number(cap.amount.0).name("shadow").flag(cap.shadow).close('}');
    }
    json.close(']');
}

fn write_account<'j>(json: &'j mut JsonText, view: &AccountView) -> &'j mut JsonText {
    let AccountView { wallet, settings } = view;
    json.word("{");
    for (name, number) in [
        ("balance", wallet.balance.0),
        ("held", wallet.held.0),
        ("available", wallet.available().0),
        ("posted", wallet.posted.0),
        ("deposited", wallet.deposited.0),
        ("refunded", wallet.refunded.0),
        ("reservations", wallet.open_reservations),
    ] {
        json.name(name).number(number);
    }
    write_networks(json, &settings.networks);
    write_caps(json, &settings.spend_caps);
    json.name("senders").texts(settings.senders.iter().map(|sender| &**sender)).close('}')
}

fn write_token(json: &mut JsonText, digest: &TokenDigest, token: &Token) {
    json.word("{").name("digest").shown(digest);
    json.name("scopes").texts(token.scopes.iter().map(|scope| &**scope));
    write_networks(json, &token.networks);
    json.name("quota");
    match token.quota {
        Some(TokenQuota { limit, window_ms }) => {
            json.word("{").name("limit").number(limit);
            json.name("windowMs").number(window_ms).close('}')
        }
        None => json.word("null"),
    };
    write_caps(json, &token.spend_caps);
    json.name("expiresMs").optional(token.expires_ms);
    json.name("revoked").flag(token.revoked).close('}');
}

fn write_reservation(json: &mut JsonText, id: ReservationId, reservation: &Reservation) {
    let (state, posted, refunded, by_expiry) = match &reservation.state {
        ReservationState::Held => ("held", None, None, false),
        ReservationState::Voided { by_expiry } => ("voided", None, None, *by_expiry),
        ReservationState::Posted { amount, refunds, by_expiry } => {
            let refunded = refunds.iter().fold(0_u64, |sum, (_, part)| sum.saturating_add(part.0));
            ("posted", Some(amount.0), Some(refunded), *by_expiry)
        }
    };
    json.word("{").name("id").number(id.0);
    json.name("amount").number(reservation.amount.0);
    json.name("token").shown(&reservation.token);
    json.name("state").text(state);
    json.name("posted").optional(posted).name("refunded").optional(refunded);
    json.name("byExpiry").flag(by_expiry);
    json.name("holdsKey").flag(reservation.claim.is_some());
    json.name("leaseUntilMs").number(reservation.lease_until_ms).close('}');
}
