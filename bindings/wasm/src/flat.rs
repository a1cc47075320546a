//! Requests, answers and outcomes as flat bytes: a head of fixed size, a table of lengths, then the bytes themselves.
//!
//! Numbers are little-endian. The package's README has the layouts; JavaScript writes and reads the same.

use core::net::IpAddr;

use tollgate::{
    AccountId, AccountRef, Amount, Answer, Body, Decision, Engine, Finish, Headers, Request,
    ReservationId, Single, StoredResponse, Ticket, Verdict,
};

use crate::error::Fault;
use crate::json::json_list;

/// Takes parts from the front of bytes.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or_else(cut_short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(cut_short)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Fault> {
        self.array().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, Fault> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Fault> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn len(&mut self) -> Result<usize, Fault> {
        usize::try_from(self.u32()?).map_err(|_| cut_short())
    }

    fn text(&mut self, len: usize, what: &str) -> Result<&'a str, Fault> {
        core::str::from_utf8(self.take(len)?)
            .map_err(|_| Fault::invalid(format!("{what} is not UTF-8")))
    }

    pub(crate) fn end(&self) -> Result<(), Fault> {
        if self.0.is_empty() { Ok(()) } else { Err(Fault::invalid("bytes are left over")) }
    }
}

fn cut_short() -> Fault {
    Fault::invalid("the bytes end before what their lengths say")
}

pub(crate) const LENGTHS: usize = 8; // of a header: its name's and its value's

/// Headers as they stand in a request's bytes.
struct FlatHeaders<'a> {
    lengths: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> FlatHeaders<'a> {
    /// Every header must be there as a whole: then none is lost later.
    fn read(reader: &mut Reader<'a>, lengths: &'a [u8]) -> Result<Self, Fault> {
        let mut total = 0_usize;
        for both in lengths.as_chunks::<LENGTHS>().0 {
            let (name, value) = split_lengths(both);
            total = total
                .checked_add(name)
                .and_then(|sum| sum.checked_add(value))
                .ok_or_else(cut_short)?;
        }
        Ok(FlatHeaders { lengths, bytes: reader.take(total)? })
    }

    fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + '_ {
        let mut rest = self.bytes;
        self.lengths.as_chunks::<LENGTHS>().0.iter().map_while(move |both| {
            let (name, value) = split_lengths(both);
            let (name, after) = rest.split_at_checked(name)?;
            let (value, after) = after.split_at_checked(value)?;
            rest = after;
            Some((name, value))
        })
    }
}

fn split_lengths(both: &[u8; LENGTHS]) -> (usize, usize) {
    let [a, b, c, d, e, f, g, h] = *both;
    let len = |bytes| usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX);
    (len([a, b, c, d]), len([e, f, g, h]))
}

impl Headers for FlatHeaders<'_> {
    fn value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        let named = |(key, _): &(&[u8], &[u8])| key.eq_ignore_ascii_case(name.as_bytes());
        self.iter().filter(named).nth(nth).map(|(_, value)| value)
    }

    fn single(&self, name: &str) -> Single<'_> {
        // One pass: this is asked of every request.
        let mut found = Single::None;
        for (key, value) in self.iter() {
            if key.eq_ignore_ascii_case(name.as_bytes()) {
                if found != Single::None {
                    return Single::Repeated;
                }
                found = Single::One(value);
            }
        }
        found
    }
}

const HAS_COST: u8 = 1;
const HAS_SENDER: u8 = 2;
const HAS_INVALID: u8 = 4;
const IS_PEEK: u8 = 8;

/// A request as it stands in its bytes.
pub(crate) struct FlatRequest<'a> {
    now_ms: u64,
    method: &'a [u8],
    target: &'a [u8],
    headers: FlatHeaders<'a>,
    peer: Option<IpAddr>,
    body: &'a [u8],
    cost: Option<Amount>,
    sender: Option<&'a str>,
    invalid: Option<&'a str>,
    peek: bool,
}

impl<'a> FlatRequest<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Fault> {
        let mut reader = Reader(bytes);
        let (now_ms, cost) = (reader.u64()?, reader.u64()?);
        let (flags, _) = (reader.u8()?, reader.u8()?);
        let headers = usize::from(reader.u16()?);
        let (method, target, peer) = (reader.len()?, reader.len()?, reader.len()?);
        let (sender, invalid, body) = (reader.len()?, reader.len()?, reader.len()?);
        let lengths = reader.take(headers.saturating_mul(LENGTHS))?;
        let (method, target) = (reader.take(method)?, reader.take(target)?);
        let peer = address(reader.take(peer)?);
        let sender = reader.text(sender, "the sender")?;
        let invalid = reader.text(invalid, "`invalid`")?;
        let headers = FlatHeaders::read(&mut reader, lengths)?;
        let body = reader.take(body)?;
        reader.end()?;
        let given = |flag| flags & flag != 0;
        Ok(FlatRequest {
            now_ms,
            method,
            target,
            headers,
            peer,
            body,
            cost: given(HAS_COST).then_some(Amount(cost)),
            sender: given(HAS_SENDER).then_some(sender),
            invalid: given(HAS_INVALID).then_some(invalid),
            peek: given(IS_PEEK),
        })
    }

    pub(crate) fn lend(&self) -> Request<'_> {
        Request {
            headers: &self.headers,
            peer: self.peer,
            body: Body::Bytes(self.body),
            cost: self.cost,
            sender: self.sender,
            invalid: self.invalid,
            peek: self.peek,
            ..Request::new(self.method, self.target, self.now_ms)
        }
    }
}

/// What is no address is none: then networks and limits by source deny.
fn address(text: &[u8]) -> Option<IpAddr> {
    core::str::from_utf8(text).ok()?.parse().ok()
}

const HAS_ACCOUNT: u8 = 1;
const HAS_ROUTE: u8 = 2;
const HAS_TICKET: u8 = 4;
const HAS_RETRY: u8 = 8;
const HAS_STORE_ERROR: u8 = 16;
const SHADOWS_CAPS: u8 = 32;
const SHADOWS_NETWORKS: u8 = 64;

/// The verdict and status of a decision in one number: `status × 4 + verdict`.
pub(crate) fn code(decision: &Decision) -> i32 {
    let verdict = match decision.verdict() {
        Verdict::Allow => 0,
        Verdict::Deny => 1,
        Verdict::Replay => 2,
    };
    i32::from(decision.status().number()).saturating_mul(4).saturating_add(verdict)
}

/// Writes all that is to be told of a decision.
pub(crate) fn write_decision(
    output: &mut Vec<u8>,
    engine: &Engine,
    decision: &Decision,
    account: Option<&AccountId>,
) {
    let Answer { status, headers, body } = engine.answer(decision);
    let route = decision.route().and_then(|route| engine.policy().route(route));
    let store_error = decision.store_error().map(ToString::to_string);
    let shadows = decision.shadows();
    let limits = engine
        .policy()
        .limits(decision.route())
        .iter()
        .zip(0_u32..)
        .filter(|(_, bit)| shadows.limits.checked_shr(*bit).is_some_and(|bits| bits & 1 == 1))
        .map(|(limit, _)| &*limit.name);
    let limits = if shadows.limits == 0 { String::new() } else { json_list(limits) };
    let ticket = decision.ticket().map(ticket_bytes).unwrap_or_default();
    let flags = [
        (account.is_some(), HAS_ACCOUNT),
        (route.is_some(), HAS_ROUTE),
        (decision.ticket().is_some(), HAS_TICKET),
        (decision.retry_at_ms().is_some(), HAS_RETRY),
        (store_error.is_some(), HAS_STORE_ERROR),
        (shadows.spend_caps, SHADOWS_CAPS),
        (shadows.networks, SHADOWS_NETWORKS),
    ];
    let flags = flags.iter().filter(|(is, _)| *is).fold(0, |flags, (_, flag)| flags | flag);
    let texts = [
        account.map_or("", AccountId::as_str).as_bytes(),
        route.map_or("", |route| &route.name).as_bytes(),
        store_error.as_deref().unwrap_or_default().as_bytes(),
        limits.as_bytes(),
        &ticket,
        &body,
    ];

    output.extend(code(decision).to_le_bytes());
    output.extend(status.to_le_bytes());
    output.push(flags);
    output.push(0);
    output.extend(decision.retry_at_ms().unwrap_or_default().to_le_bytes());
    for text in texts {
        put_len(output, text.len());
    }
    put_len(output, headers.len());
    for (name, value) in &headers {
        put_len(output, name.len());
        put_len(output, value.len());
    }
    for (name, value) in &headers {
        output.extend(name.as_bytes());
        output.extend(value);
    }
    for text in texts {
        output.extend(text);
    }
}

pub(crate) fn put_len(output: &mut Vec<u8>, len: usize) {
    output.extend(u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
}

const TICKET_VERSION: u8 = 1;
const HOLDS_KEY: u8 = 1;
const BY_SLOT: u8 = 2;

fn ticket_bytes(ticket: &Ticket) -> Vec<u8> {
    let mut bytes = vec![TICKET_VERSION, if ticket.holds_key { HOLDS_KEY } else { 0 }];
    bytes.extend(ticket.reservation.0.to_le_bytes());
    bytes.extend(ticket.reserved.0.to_le_bytes());
    match &ticket.account {
        AccountRef::Id(id) => bytes.extend(id.as_str().as_bytes()),
        AccountRef::Slot(slot) => {
            if let Some(flags) = bytes.get_mut(1) {
                *flags |= BY_SLOT;
            }
            bytes.extend(slot.to_le_bytes());
        }
    }
    bytes
}

fn read_ticket(bytes: &[u8]) -> Result<Ticket, Fault> {
    let no_ticket = || Fault::invalid("these are not the bytes of a ticket of this version");
    let mut reader = Reader(bytes);
    if reader.u8().map_err(|_| no_ticket())? != TICKET_VERSION {
        return Err(no_ticket());
    }
    let flags = reader.u8().map_err(|_| no_ticket())?;
    let reservation = ReservationId(reader.u64().map_err(|_| no_ticket())?);
    let reserved = Amount(reader.u64().map_err(|_| no_ticket())?);
    let account = if flags & BY_SLOT == 0 {
        let name = core::str::from_utf8(reader.0).map_err(|_| no_ticket())?;
        AccountRef::Id(AccountId::new(name).map_err(|_| no_ticket())?)
    } else {
        let slot = reader.u32().map_err(|_| no_ticket())?;
        reader.end().map_err(|_| no_ticket())?;
        AccountRef::Slot(slot)
    };
    Ok(Ticket { account, reservation, reserved, holds_key: flags & HOLDS_KEY != 0 })
}

const HAS_AMOUNT: u8 = 1;
const HAS_RESPONSE: u8 = 2;
const HAS_BODY: u8 = 4;

/// How a request ended, as JavaScript says it.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) now_ms: u64,
    /// Absent where an operator speaks.
    pub(crate) ticket: Option<Ticket>,
    pub(crate) finish: Finish,
}

pub(crate) fn read_ending(bytes: &[u8]) -> Result<Ending, Fault> {
    let mut reader = Reader(bytes);
    let (now_ms, amount) = (reader.u64()?, reader.u64()?);
    let (kind, flags) = (reader.u8()?, reader.u8()?);
    let (status, headers) = (reader.u16()?, usize::from(reader.u16()?));
    let _ = reader.u16()?;
    let (ticket, body) = (reader.len()?, reader.len()?);
    let lengths = reader.take(headers.saturating_mul(LENGTHS))?;
    let ticket = reader.take(ticket)?;
    let headers = FlatHeaders::read(&mut reader, lengths)?;
    let body = reader.take(body)?;
    reader.end()?;
    let given = |flag| flags & flag != 0;
    let response = if given(HAS_RESPONSE) {
        let body = given(HAS_BODY).then(|| body.into());
        Some(stored(status, &headers, body)?.into())
    } else {
        None
    };
    let amount = given(HAS_AMOUNT).then_some(Amount(amount));
    let finish = match kind {
        0 => Finish::Settle { amount, response },
        _ if amount.is_some() => {
            return Err(Fault::invalid("an amount goes with \"settle\" only"));
        }
        1 => Finish::Void { response },
        2 if response.is_some() => {
            return Err(Fault::invalid("a response does not go with \"unknown\""));
        }
        2 => Finish::Unknown,
        _ => return Err(Fault::invalid("an outcome is \"settle\", \"void\" or \"unknown\"")),
    };
    let ticket = if ticket.is_empty() { None } else { Some(read_ticket(ticket)?) };
    Ok(Ending { now_ms, ticket, finish })
}

fn stored(
    status: u16,
    headers: &FlatHeaders<'_>,
    body: Option<Box<[u8]>>,
) -> Result<StoredResponse, Fault> {
    if !(100..=999).contains(&status) {
        return Err(Fault::invalid("a response's status is 100 to 999"));
    }
    let headers = headers.iter().map(|(name, value)| {
        let name = core::str::from_utf8(name)
            .map_err(|_| Fault::invalid("the name of a response's header is not UTF-8"))?;
        Ok((name.into(), value.into()))
    });
    Ok(StoredResponse { status, headers: headers.collect::<Result<_, Fault>>()?, body })
}
