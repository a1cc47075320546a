//! The flat bytes between JavaScript and the engine: what is written is read as it was, and what is cut short, left over or
//! made up is refused.

#![no_main]

// The package is built for WebAssembly alone: its buffers are taken as they stand.
#[path = "../../../bindings/wasm/src/error.rs"]
#[allow(dead_code, reason = "JavaScript's errors are not made here")]
mod error;
#[path = "../../../bindings/wasm/src/flat.rs"]
#[allow(dead_code, reason = "engines of the package are not made here")]
mod flat;
#[path = "../../../bindings/wasm/src/flat_calls.rs"]
#[allow(dead_code, reason = "nothing is sent to objects here")]
mod flat_calls;
#[path = "../../../bindings/wasm/src/json.rs"]
#[allow(dead_code, reason = "administration is not called here")]
mod json;

mod layout;

use std::net::IpAddr;

use arbitrary::Arbitrary;
use flat::{FlatRequest, read_ending, write_decision};
use layout::Layout;
use libfuzzer_sys::fuzz_target;
use tollgate::{
    AccountId, AccountRef, Admin, Amount, Body, Engine, Finish, Headers, Request, ReservationId,
    StoredResponse, Ticket, TokenPatch,
};
use tollgate_kv::{KvOptions, KvStore, MemoryMap};

#[derive(Arbitrary, Debug)]
enum Input {
    /// Any bytes, as each kind.
    Bytes(Vec<u8>),
    Request(Facts, Damage),
    Ending(Ending, Damage),
    Replies(Vec<(bool, Vec<u8>)>, Damage),
}

#[derive(Arbitrary, Debug)]
struct Facts {
    now_ms: u64,
    method: Vec<u8>,
    target: Target,
    peer: Peer,
    headers: Vec<(Name, Vec<u8>)>,
    with_token: bool,
    body: Vec<u8>,
    cost: Option<u64>,
    sender: Option<String>,
    invalid: Option<String>,
    peek: bool,
}

#[derive(Arbitrary, Debug)]
enum Target {
    Sms,
    Messages,
    Any(Vec<u8>),
}

#[derive(Arbitrary, Debug)]
enum Peer {
    Address(IpAddr),
    Text(Vec<u8>),
}

#[derive(Arbitrary, Debug)]
enum Name {
    Key,
    Authorization,
    Any(Vec<u8>),
}

#[derive(Arbitrary, Debug)]
struct Ending {
    now_ms: u64,
    kind: u8,
    amount: Option<u64>,
    ticket: Option<TicketParts>,
    response: Option<(u16, Vec<(String, Vec<u8>)>, Option<Vec<u8>>)>,
}

#[derive(Arbitrary, Debug)]
struct TicketParts {
    account: Result<u32, String>,
    reservation: u64,
    reserved: u64,
    holds_key: bool,
}

/// What happens to bytes on their way.
#[derive(Arbitrary, Debug)]
enum Damage {
    None,
    CutTo(u16),
    Left(Vec<u8>),
    Changed(u16, u8),
}

impl Damage {
    /// The bytes as they arrive, and whether they must be refused.
    fn of(&self, mut bytes: Vec<u8>) -> (Vec<u8>, Option<bool>) {
        match self {
            Damage::None => (bytes, Some(false)),
            Damage::CutTo(len) => {
                bytes.truncate(usize::from(*len) % bytes.len());
                (bytes, Some(true))
            }
            Damage::Left(more) => {
                bytes.extend(more);
                (bytes, Some(!more.is_empty()))
            }
            Damage::Changed(at, xor) => {
                let at = usize::from(*at) % bytes.len();
                bytes[at] ^= xor;
                (bytes, None)
            }
        }
    }
}

fuzz_target!(|input: Input| match input {
    Input::Bytes(bytes) => {
        if let Ok(request) = FlatRequest::read(&bytes) {
            decide(&request.lend());
        }
        let _ = read_ending(&bytes);
        let _ = flat_calls::read_replies(&bytes);
    }
    Input::Request(facts, damage) => request(&facts, &damage),
    Input::Ending(ending, damage) => end(&ending, &damage),
    Input::Replies(replies, damage) => answers(&replies, &damage),
});

const TOKEN: &str = "tg_live_flat";

impl Facts {
    fn headers(&self) -> Vec<(&[u8], &[u8])> {
        let mut headers: Vec<(&[u8], &[u8])> = Vec::new();
        if self.with_token {
            headers.push((b"Authorization", b"Bearer tg_live_flat"));
        }
        headers.extend(self.headers.iter().take(9).map(|(name, value)| {
            let name: &[u8] = match name {
                Name::Key => b"Idempotency-Key",
                Name::Authorization => b"authorization",
                Name::Any(name) => name,
            };
            (name, value.as_slice())
        }));
        headers
    }

    fn target(&self) -> &[u8] {
        match &self.target {
            Target::Sms => b"/sms/send",
            Target::Messages => b"/messages/7?a=1",
            Target::Any(target) => target,
        }
    }

    fn peer(&self) -> Vec<u8> {
        match &self.peer {
            Peer::Address(address) => address.to_string().into_bytes(),
            Peer::Text(text) => text.clone(),
        }
    }
}

fn request(facts: &Facts, damage: &Damage) {
    let (headers, peer) = (facts.headers(), facts.peer());
    let bytes = Layout::request(
        facts.now_ms,
        facts.cost,
        facts.peek,
        &headers,
        [
            (true, &facts.method),
            (true, facts.target()),
            (true, &peer),
            (facts.sender.is_some(), facts.sender.as_deref().unwrap_or_default().as_bytes()),
            (facts.invalid.is_some(), facts.invalid.as_deref().unwrap_or_default().as_bytes()),
            (true, &facts.body),
        ],
    );
    let (bytes, refused) = damage.of(bytes);
    let read = FlatRequest::read(&bytes);
    assert!(refused.is_none_or(|refused| refused == read.is_err()), "refused: {refused:?}");
    let Ok(read) = read else { return };
    let lent = read.lend();
    if refused == Some(false) {
        assert_eq!((lent.now_ms, lent.peek), (facts.now_ms, facts.peek));
        assert_eq!((lent.method, lent.target), (facts.method.as_slice(), facts.target()));
        assert_eq!(lent.peer, str::from_utf8(&peer).ok().and_then(|text| text.parse().ok()));
        assert_eq!(lent.cost, facts.cost.map(Amount));
        assert_eq!(
            (lent.sender, lent.invalid),
            (facts.sender.as_deref(), facts.invalid.as_deref())
        );
        assert!(matches!(lent.body, Body::Bytes(body) if body == facts.body));
        for name in ["authorization", "idempotency-key", "x-forwarded-for"] {
            for nth in 0..3 {
                assert_eq!(
                    lent.headers.value(name, nth),
                    headers.as_slice().value(name, nth),
                    "{name}"
                );
            }
            assert!(lent.headers.single(name) == headers.as_slice().single(name), "{name}");
        }
    }
    decide(&lent);
}

/// Decides a request, and reads what is written of that.
fn decide(request: &Request<'_>) {
    thread_local! {
        static ENGINE: Engine = {
            let mut config = tollgate::preset("sms-gateway").unwrap();
            config.tokens.format = tollgate::TokenFormat::Opaque;
            Engine::new(config.compile().unwrap())
        };
    }
    ENGINE.with(|engine| {
        // Made more quickly than the memory store, whose shards are many.
        let store = KvStore::open(MemoryMap::default(), &KvOptions::default()).unwrap();
        let id = AccountId::new("acme").unwrap();
        let admin = Admin::new(&store);
        let text = tollgate::TokenText::parse(tollgate::TokenFormat::Opaque, TOKEN).unwrap();
        let scopes = engine.policy().scopes().names().to_vec();
        let settings = TokenPatch { scopes: Some(scopes), ..Default::default() };
        admin.put_account(&id, Amount(1_000), Default::default(), 0).unwrap();
        admin.put_token(&engine.digest(&text), &id, settings, 0).unwrap();
        let decision = engine.decide(&store, request);
        let account = decision.account().is_some().then_some(&id);
        let mut output = Vec::new();
        write_decision(&mut output, engine, &decision, account);
        Layout::decision(&output, engine, &decision, account);
        if let Some(ticket) = decision.ticket() {
            assert_eq!(read_ticket(&Layout::ticket(ticket)), Some(ticket.clone()));
        }
    });
}

fn read_ticket(bytes: &[u8]) -> Option<Ticket> {
    let ending = Layout::ending(1, 0, None, bytes, None);
    read_ending(&ending).ok()?.ticket
}

fn end(ending: &Ending, damage: &Damage) {
    let ticket = ending.ticket.as_ref().map(|parts| {
        let account = match &parts.account {
            Ok(slot) => Some(AccountRef::Slot(*slot)),
            Err(name) => AccountId::new(name).ok().map(AccountRef::Id),
        };
        let (reservation, reserved) = (ReservationId(parts.reservation), Amount(parts.reserved));
        account.map(|account| Ticket { account, reservation, reserved, holds_key: parts.holds_key })
    });
    // A name that no account has is no ticket.
    let Some(ticket) = ticket.map_or(Some(None), |ticket| ticket.map(Some)) else { return };
    let ticket_bytes = ticket.as_ref().map(Layout::ticket).unwrap_or_default();
    let response = ending.response.as_ref().map(|(status, headers, body)| StoredResponse {
        status: *status,
        headers: headers
            .iter()
            .take(9)
            .map(|(name, value)| (name.as_str().into(), value.as_slice().into()))
            .collect(),
        body: body.as_deref().map(Into::into),
    });
    let kind = ending.kind % 4;
    let bytes =
        Layout::ending(ending.now_ms, kind, ending.amount, &ticket_bytes, response.as_ref());
    let legal_response =
        response.as_ref().is_none_or(|response| (100..1000).contains(&response.status));
    let legal = legal_response
        && match kind {
            0 => true,
            1 => ending.amount.is_none(),
            2 => ending.amount.is_none() && response.is_none(),
            _ => false,
        };
    let (bytes, refused) = damage.of(bytes);
    let read = read_ending(&bytes);
    match refused {
        Some(true) => assert!(read.is_err()),
        Some(false) => assert_eq!(read.is_ok(), legal, "{read:?}"),
        None => {}
    }
    let (Ok(read), Some(false)) = (read, refused) else { return };
    let response = response.map(Into::into);
    let finish = match kind {
        0 => Finish::Settle { amount: ending.amount.map(Amount), response },
        1 => Finish::Void { response },
        _ => Finish::Unknown,
    };
    assert_eq!((read.now_ms, read.ticket, read.finish), (ending.now_ms, ticket, finish));
}

fn answers(replies: &[(bool, Vec<u8>)], damage: &Damage) {
    let (bytes, refused) = damage.of(Layout::replies(replies));
    let read = flat_calls::read_replies(&bytes);
    assert!(refused.is_none_or(|refused| refused == read.is_err()), "refused: {refused:?}");
    if let (Ok(read), Some(false)) = (read, refused) {
        assert_eq!(read.len(), replies.len());
        for (read, (is_answer, bytes)) in read.iter().zip(replies) {
            assert_eq!(
                read.as_ref().ok().map(Vec::as_slice),
                is_answer.then_some(bytes.as_slice())
            );
        }
    }
}
