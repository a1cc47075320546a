//! Replies: bytes as they could come over a wire, the forms that scripts have with any records in them, and silence.

use std::sync::Arc;

use arbitrary::Arbitrary;
use tollgate::{AccountId, StoredResponse, Token, TokenDigest};
use tollgate_redis::redis::{Value, parse_redis_value};
use tollgate_redis::{CallError, Reply};

#[derive(Arbitrary, Debug)]
pub enum Answer {
    Wire(Vec<u8>),
    Refusal(u8),
    Lost,
    Nil,
    Okay,
    Int(i8),
    /// What a look-up finds: a revision and a record.
    Published(u64, Record),
    /// `[count, more]` of a sweep.
    Swept(u8, bool),
    /// A list or a map of records, as `HGETALL` and `SMEMBERS` have.
    List(bool, Vec<Part>),
    /// An admission: kind, extra, cells.
    Admitted {
        kind: u8,
        shadow: bool,
        extra: Part,
        cells: Vec<Part>,
    },
    /// What a settlement, a deposit or a refund says.
    Money {
        kind: u8,
        extra: Part,
    },
    /// An account as a script looks at it.
    Account {
        revision: u64,
        head: [Slot; 4],
        tokens: Vec<Slot>,
        rest: Vec<Part>,
    },
    /// An account as it was put.
    Put {
        kept: bool,
        rest: Vec<Part>,
    },
    Parts(Vec<Part>),
}

/// What stands where a record of one kind belongs.
#[derive(Arbitrary, Debug)]
pub enum Slot {
    Empty,
    Right,
    Changed(u16, u8),
    Other(Part),
}

/// Bytes, or a record with one byte of it changed.
#[derive(Arbitrary, Debug)]
pub enum Part {
    Empty,
    Bytes(Vec<u8>),
    Number(u64),
    Small(u8),
    Known(Record),
    /// A code of one letter.
    Letter(u8),
}

#[derive(Arbitrary, Debug)]
pub struct Record {
    which: u8,
    at: u16,
    xor: u8,
}

const REFUSALS: &[&str] = &[
    "-NOSCRIPT no\r\n",
    "-OOM over\r\n",
    "-TGFORMAT 9\r\n",
    "-\r\n",
    "-ERR script: damaged\r\n",
    "-MOVED 1 127.0.0.1:1\r\n",
    "-ASK 1 127.0.0.1:1\r\n",
    "-READONLY no\r\n",
    "-BUSY\r\n",
    "-LOADING\r\n",
    "-NOAUTH unauthenticated\r\n",
    "-TGFORMAT 99999999999\r\n",
];
/// The records are numbered in `Record::bytes`.
const SPEND: u8 = 16;
const RECORDS: u8 = 17;
const MOST_LIMITS: usize = 4;
const LETTERS: &[u8] = b"APCLEIFBSVWXDRKZMansumlfpetow";

pub fn token() -> TokenDigest {
    TokenDigest::new([7; 32])
}

pub fn token_record() -> Token {
    Token::plain(AccountId::new("acme").unwrap(), vec!["otp".into()])
}

pub fn response() -> Arc<StoredResponse> {
    let headers = [("etag".into(), b"1".as_slice().into())].into();
    Arc::new(StoredResponse { status: 201, headers, body: Some(b"sent".as_slice().into()) })
}

impl Answer {
    pub fn reply(&self) -> Reply {
        Ok(match self {
            Answer::Wire(bytes) => return parse_redis_value(bytes).map_err(CallError::from),
            Answer::Refusal(which) => {
                let text = REFUSALS[usize::from(*which) % REFUSALS.len()];
                return parse_redis_value(text.as_bytes()).map_err(CallError::from);
            }
            Answer::Lost => return Err(CallError::lost("the connection broke")),
            Answer::Nil => Value::Nil,
            Answer::Okay => Value::Okay,
            Answer::Int(number) => Value::Int((*number).into()),
            Answer::Published(revision, record) => {
                Value::BulkString([&revision.to_be_bytes(), record.bytes().as_slice()].concat())
            }
            Answer::Swept(count, more) => {
                Value::Array(vec![Value::Int((*count).into()), Value::Int((*more).into())])
            }
            Answer::List(pairs, parts) => {
                let values: Vec<Value> =
                    parts.iter().map(|part| Value::BulkString(part.bytes())).collect();
                match pairs {
                    true => Value::Map(
                        values
                            .chunks_exact(2)
                            .map(|two| (two[0].clone(), two[1].clone()))
                            .collect(),
                    ),
                    false => Value::Array(values),
                }
            }
            Answer::Admitted { kind, shadow, extra, cells } => {
                let shadow = if *shadow { b"1" } else { b"0" };
                let mut parts = vec![letter(*kind), shadow.to_vec(), extra.bytes()];
                parts.extend(cells.iter().map(Part::bytes));
                // As many as there are limits, or more: those behind are of nothing.
                parts.resize(parts.len() + MOST_LIMITS, Vec::new());
                framed(&parts)
            }
            Answer::Money { kind, extra } => framed(&[letter(*kind), extra.bytes()]),
            Answer::Account { revision, head, tokens, rest } => {
                let mut parts = vec![revision.to_be_bytes().to_vec(); 2];
                // Settings, wallet, claim, what the token spent.
                let kinds = [4, 8, 9, SPEND];
                parts.extend(head.iter().zip(kinds).map(|(slot, kind)| slot.bytes(kind)));
                parts.extend(tokens.iter().map(|slot| slot.bytes(1)));
                parts.extend(rest.iter().map(Part::bytes));
                framed(&parts)
            }
            Answer::Put { kept, rest } => {
                let mut parts = vec![if *kept { b"K".to_vec() } else { b"Z".to_vec() }];
                parts.extend(rest.iter().map(Part::bytes));
                framed(&parts)
            }
            Answer::Parts(parts) => framed(&parts.iter().map(Part::bytes).collect::<Vec<_>>()),
        })
    }
}

/// Parts as scripts join them: each behind its length.
fn framed(parts: &[Vec<u8>]) -> Value {
    let framed = |part: &Vec<u8>| [&(part.len() as u32).to_be_bytes(), part.as_slice()].concat();
    Value::BulkString(parts.iter().flat_map(framed).collect())
}

fn letter(which: u8) -> Vec<u8> {
    vec![LETTERS[usize::from(which) % LETTERS.len()]]
}

impl Slot {
    fn bytes(&self, which: u8) -> Vec<u8> {
        match self {
            Slot::Empty => Vec::new(),
            Slot::Right => Record { which, at: 0, xor: 0 }.bytes(),
            Slot::Changed(at, xor) => Record { which, at: *at, xor: *xor }.bytes(),
            Slot::Other(part) => part.bytes(),
        }
    }
}

impl Part {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Part::Empty => Vec::new(),
            Part::Bytes(bytes) => bytes.clone(),
            Part::Number(number) => number.to_be_bytes().to_vec(),
            Part::Small(number) => u64::from(*number).to_be_bytes().to_vec(),
            Part::Known(record) => record.bytes(),
            Part::Letter(which) => letter(*which),
        }
    }
}

impl Record {
    /// One of the records that this store keeps. `xor` of zero leaves it whole.
    fn bytes(&self) -> Vec<u8> {
        let token = serde_json::to_vec(&token_record()).unwrap();
        let numbers = |count: usize| {
            (0..count).flat_map(|number| (number as u64).to_be_bytes()).collect::<Vec<u8>>()
        };
        let mut bytes = match self.which % RECORDS {
            0 => token,
            1 => [&5_u64.to_be_bytes(), token.as_slice()].concat(),
            2 => [br#"{"account":"acme","token":"#, token.as_slice(), b"}"].concat(),
            3 => br#"{"account":"acme"}"#.to_vec(),
            4 => br#"{"networks":["192.0.2.0/24"],"spend_caps":[],"senders":["acme"]}"#.to_vec(),
            5 => [b"g".as_slice(), &1_700_000_000_000_000_000_u64.to_be_bytes()].concat(),
            6 => [b"f".as_slice(), &1_699_999_980_000_u64.to_be_bytes(), &4_u64.to_be_bytes()]
                .concat(),
            7 => [
                b"s".as_slice(),
                &3_750_u64.to_be_bytes(),
                &453_333_333_u64.to_be_bytes(),
                &[0; 68],
            ]
            .concat(),
            // A wallet: seven amounts and what was spent.
            8 => [100, 3, 0, 100, 0, 1, 1_u64]
                .map(u64::to_be_bytes)
                .concat()
                .into_iter()
                .chain([0; 32])
                .collect(),
            9 => [
                [4; 32].as_slice(),
                &1_u64.to_be_bytes(),
                &1_700_000_060_000_u64.to_be_bytes(),
                &1_700_000_060_000_u64.to_be_bytes(),
                b"0",
            ]
            .concat(),
            10 => [[4; 32].as_slice(), &numbers(3), b"1\0\xc9\0\0\0\0" as &[u8], b"1sent"].concat(),
            11 => [
                b"h0v1".as_slice(),
                &3_u64.to_be_bytes(),
                &numbers(3),
                &[0; 16],
                &[7; 32],
                &[3; 32],
                &[0; 4],
            ]
            .concat(),
            12 => [
                b"p0s0".as_slice(),
                &3_u64.to_be_bytes(),
                &3_u64.to_be_bytes(),
                &numbers(2),
                &[0; 16],
                &[7; 32],
                &[3; 32],
                b"\0\0\0\x01\0\0\0\x01r" as &[u8],
                &1_u64.to_be_bytes(),
            ]
            .concat(),
            13 => b"\0\xc9\0\0\0\x01\0\0\0\x04etag\0\0\0\x011"
                .iter()
                .chain(b"1sent")
                .copied()
                .collect(),
            14 => b"acme".to_vec(),
            SPEND => vec![0; 32],
            _ => vec![7; 32],
        };
        let at = usize::from(self.at) % bytes.len();
        bytes[at] ^= self.xor;
        bytes
    }
}
