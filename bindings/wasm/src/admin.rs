//! Administration: calls and answers as JSON.

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use tollgate::{
    AccountId, AccountPatch, AccountRef, AccountView, Administration, Amount, Command, Engine,
    Finish, IpNet, Outcome, Period, Reservation, ReservationId, ReservationState, SpendCap,
    StoreError, Token, TokenDigest, TokenPatch, TokenQuota, TokenText, parse_network,
};

use crate::buffer::with_input;
use crate::error::Fault;
use crate::flat::read_ending;
use crate::number::Number;
use crate::work::Ask;

/// What JavaScript asks.
#[derive(Deserialize)]
#[serde(
    tag = "op",
    rename_all = "snake_case",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
enum Asked {
    PutAccount {
        id: String,
        balance: Option<Number>,
        networks: Option<Vec<String>>,
        spend_caps: Option<Vec<Cap>>,
        senders: Option<Vec<Box<str>>>,
    },
    PutToken {
        token: String,
        account: String,
        scopes: Option<Vec<Box<str>>>,
        networks: Option<Vec<String>>,
        #[serde(default, deserialize_with = "given")]
        quota: Option<Option<OwnQuota>>,
        spend_caps: Option<Vec<Cap>>,
        #[serde(default, deserialize_with = "given")]
        expires_ms: Option<Option<Number>>,
    },
    RotateToken {
        token: Named,
        replacement: String,
        grace_ms: Number,
    },
    RevokeToken {
        token: Named,
    },
    Deposit {
        account: String,
        amount: Number,
    },
    Refund {
        account: String,
        reservation: Number,
        amount: Number,
        reference: String,
    },
    Resolve {
        account: String,
        reservation: Number,
    },
    Account {
        id: String,
    },
    Accounts {
        after: Option<String>,
        at_most: Option<usize>,
    },
    Tokens {
        account: String,
    },
    Reservations {
        account: String,
    },
    Expire {},
}

/// A field that may be left out, and may be `null` to take a setting away.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A token by its text, or by its digest, which an operator sees in lists.
#[derive(Deserialize)]
#[serde(untagged)]
enum Named {
    Text(String),
    Digest { digest: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OwnQuota {
    limit: Number,
    window_ms: Number,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cap {
    per: Period,
    amount: Number,
    #[serde(default)]
    shadow: bool,
}

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
        let asked = serde_json::from_str(call).map_err(|error| not_understood(&error))?;
        Ok(match asked {
            Asked::PutAccount { id, balance, networks, spend_caps, senders } => {
                let settings = AccountPatch {
                    networks: read_networks(networks)?,
                    spend_caps: spend_caps.map(read_caps),
                    senders,
                };
                let opening_balance = Amount(balance.map_or(0, |Number(balance)| balance));
                Call::PutAccount { account: account(&id)?, opening_balance, settings }
            }
            Asked::PutToken {
                token,
                account: owner,
                scopes,
                networks,
                quota,
                spend_caps,
                expires_ms,
            } => {
                let own = |OwnQuota { limit, window_ms }| TokenQuota {
                    limit: limit.0,
                    window_ms: window_ms.0,
                };
                let settings = TokenPatch {
                    scopes,
                    networks: read_networks(networks)?,
                    quota: quota.map(|quota| quota.map(own)),
                    spend_caps: spend_caps.map(read_caps),
                    expires_ms: expires_ms.map(|at| at.map(|Number(at)| at)),
                };
                let digest = digest(engine, &token)?;
                Call::PutToken { digest, account: account(&owner)?, settings }
            }
            Asked::RotateToken { token, replacement, grace_ms } => Call::RotateToken {
                old: named(engine, &token)?,
                new: digest(engine, &replacement)?,
                grace_ms: grace_ms.0,
            },
            Asked::RevokeToken { token } => Call::RevokeToken { digest: named(engine, &token)? },
            Asked::Deposit { account: id, amount } => {
                Call::Deposit { account: account(&id)?, amount: Amount(amount.0) }
            }
            Asked::Refund { account: id, reservation, amount, reference } => Call::Refund {
                account: AccountRef::Id(account(&id)?),
                reservation: ReservationId(reservation.0),
                amount: Amount(amount.0),
                reference,
            },
            Asked::Resolve { account: id, reservation } => Call::Resolve {
                account: account(&id)?,
                reservation: ReservationId(reservation.0),
                finish: with_input(len, read_ending)?.finish,
            },
            Asked::Account { id } => Call::Inspect { account: account(&id)? },
            Asked::Accounts { after, at_most } => {
                let after = after.as_deref().map(account).transpose()?;
                Call::ListAccounts { after, at_most: at_most.unwrap_or(AT_MOST) }
            }
            Asked::Tokens { account: id } => Call::ListTokens { account: account(&id)? },
            Asked::Reservations { account: id } => {
                Call::ListReservations { account: account(&id)? }
            }
            Asked::Expire {} => Call::Expire,
        })
    }

    fn command(&self) -> Administration<'_> {
        match self {
            Call::PutAccount { account, opening_balance, settings } => Administration::PutAccount {
                account,
                opening_balance: *opening_balance,
                settings: settings.clone(),
            },
            Call::PutToken { digest, account, settings } => {
                Administration::PutToken { digest, account, settings: settings.clone() }
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
                finish: finish.clone(),
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

/// Performs a call; the answer is JSON.
pub(crate) async fn administer(
    call: &Call,
    now_ms: u64,
    store: &impl Ask,
) -> Result<String, Fault> {
    let command = call.command();
    let answer = match store.ask(&Command::Administer(&command), now_ms).await? {
        Outcome::Refused(refusal) => return Err(refusal.into()),
        Outcome::Done => Value::Null,
        Outcome::Settled(settled) => json!(settled.posted.map(|posted| Number(posted.0))),
        Outcome::Account(view) => account_view(&view),
        Outcome::Accounts(names) => names.iter().map(|name| Value::from(name.as_str())).collect(),
        Outcome::Tokens(tokens) => {
            tokens.iter().map(|(digest, token)| token_view(digest, token)).collect()
        }
        Outcome::Reservations(reservations) => {
            reservations.iter().map(|(id, it)| reservation_view(*id, it)).collect()
        }
        Outcome::Expired(ended) => json!(Number(ended)),
        _ => return Err(StoreError::WrongOutcome.into()),
    };
    Ok(answer.to_string())
}

/// serde quotes a text that it did not want, and that text may be a secret in the wrong field.
fn not_understood(error: &serde_json::Error) -> Fault {
    let message = error.to_string();
    let quoted = message.find(": string \"").zip(message.rfind("\", expected "));
    match quoted {
        Some((start, end)) => {
            let before = message.get(..start).unwrap_or_default();
            let after = message.get(end.saturating_add(1)..).unwrap_or_default();
            Fault::invalid(format!("{before}: a string{after}"))
        }
        None => Fault::Invalid(message),
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

fn named(engine: &Engine, token: &Named) -> Result<TokenDigest, Fault> {
    match token {
        Named::Text(text) => digest(engine, text),
        Named::Digest { digest } => {
            TokenDigest::from_hex(digest).map_err(|error| Fault::invalid(error.to_string()))
        }
    }
}

fn read_networks(networks: Option<Vec<String>>) -> Result<Option<Vec<IpNet>>, Fault> {
    let Some(networks) = networks else { return Ok(None) };
    let read = networks
        .iter()
        .map(|text| parse_network(text).map_err(|error| Fault::invalid(error.to_string())));
    read.collect::<Result<_, _>>().map(Some)
}

fn read_caps(caps: Vec<Cap>) -> Vec<SpendCap> {
    let cap = |Cap { per, amount, shadow }| SpendCap { per, amount: Amount(amount.0), shadow };
    caps.into_iter().map(cap).collect()
}

fn number(amount: Amount) -> Number {
    Number(amount.0)
}

fn networks(networks: &[IpNet]) -> Value {
    networks.iter().map(|network| Value::from(network.to_string())).collect()
}

fn caps(caps: &[SpendCap]) -> Value {
    let cap = |cap: &SpendCap| json!({"per": cap.per, "amount": number(cap.amount), "shadow": cap.shadow});
    caps.iter().map(cap).collect()
}

fn account_view(AccountView { wallet, settings }: &AccountView) -> Value {
    json!({
        "balance": number(wallet.balance),
        "held": number(wallet.held),
        "available": number(wallet.available()),
        "posted": number(wallet.posted),
        "deposited": number(wallet.deposited),
        "refunded": number(wallet.refunded),
        "reservations": Number(wallet.open_reservations),
        "networks": networks(&settings.networks),
        "spendCaps": caps(&settings.spend_caps),
        "senders": settings.senders,
    })
}

fn token_view(digest: &TokenDigest, token: &Token) -> Value {
    let quota = token
        .quota
        .map(|quota| json!({"limit": Number(quota.limit), "windowMs": Number(quota.window_ms)}));
    json!({
        "digest": digest.to_string(),
        "scopes": token.scopes,
        "networks": networks(&token.networks),
        "quota": quota,
        "spendCaps": caps(&token.spend_caps),
        "expiresMs": token.expires_ms.map(Number),
        "revoked": token.revoked,
    })
}

fn reservation_view(id: ReservationId, reservation: &Reservation) -> Value {
    let (state, posted, refunded, by_expiry) = match &reservation.state {
        ReservationState::Held => ("held", None, None, false),
        ReservationState::Voided { by_expiry } => ("voided", None, None, *by_expiry),
        ReservationState::Posted { amount, refunds, by_expiry } => {
            let refunded = refunds.iter().fold(0_u64, |sum, (_, part)| sum.saturating_add(part.0));
            ("posted", Some(number(*amount)), Some(Number(refunded)), *by_expiry)
        }
    };
    json!({
        "id": Number(id.0),
        "amount": number(reservation.amount),
        "token": reservation.token.to_string(),
        "state": state,
        "posted": posted,
        "refunded": refunded,
        "byExpiry": by_expiry,
        "holdsKey": reservation.claim.is_some(),
        "leaseUntilMs": Number(reservation.lease_until_ms),
    })
}
