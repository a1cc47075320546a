//! What the fuzzer's bytes stand for: numbers, texts and structs, good and hostile.
//!
//! Nothing here breaks what callers promise: a pointer that is not null points to as much as its length says, or the
//! length is one that no memory has.

use core::ffi::c_char;
use core::ptr::null;

use arbitrary::Unstructured;
use tollgate_c::*;

pub const NOW_MS: u64 = 1_700_000_000_000;
pub const TOKEN: &str = "tg-fuzz-token-0123456789abcdef";
pub const ACCOUNTS: &[&str] = &["acct_1", "acct_2"];

const TEXTS: &[&str] = &[
    TOKEN,
    "acct_1",
    "acct_2",
    "acct_3",
    "POST",
    "GET",
    "/sms/send",
    "/messages/7?a=%20b",
    "/otp/send",
    "sms:send",
    "otp",
    "10.0.0.0/8",
    "::1",
    "ref-1",
    "key-1",
    "key-2",
    "sender",
    "tg",
    "sms-gateway",
    "not/a/network",
    "{\"limits\":null}",
    "{\"routes\":{\"POST /sms/send\":{\"price\":7}}}",
    "[scopes]\nx = [\"POST /sms/send\"]\n",
    "redis://127.0.0.1:1/0",
];

const REPLIES: &[&[u8]] = &[
    b"$-1\r\n",
    b"*-1\r\n",
    b":1\r\n",
    b"*0\r\n",
    b"+OK\r\n",
    b"-NOSCRIPT no\r\n",
    b"-MOVED 1 127.0.0.1:1\r\n",
    b"-ERR damaged\r\n",
    b"*2\r\n$2\r\nok\r\n:1\r\n",
    b"*3\r\n$5\r\nallow\r\n*1\r\n:1\r\n$0\r\n\r\n",
    b"$4\r\nab",
    b"*1000000000\r\n",
    b"$99999999999999\r\n",
    b"%1\r\n+a\r\n:1\r\n",
];

/// The fuzzer's bytes, and what was made of them for the call at hand.
pub struct Input<'a> {
    bytes: Unstructured<'a>,
    kept: Vec<Box<[u8]>>,
    headers: Vec<Box<[tollgate_header_t]>>,
    strs: Vec<Box<[tollgate_str_t]>>,
    caps: Vec<Box<[tollgate_spend_cap_t]>>,
    responses: Vec<Box<tollgate_response_t>>,
}

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        let bytes = Unstructured::new(bytes);
        Input {
            bytes,
            kept: vec![],
            headers: vec![],
            strs: vec![],
            caps: vec![],
            responses: vec![],
        }
    }

    pub fn is_over(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Forgets what was made for the last call.
    pub fn next_call(&mut self) -> u8 {
        self.kept.clear();
        self.headers.clear();
        self.strs.clear();
        self.caps.clear();
        self.responses.clear();
        self.byte()
    }

    pub fn byte(&mut self) -> u8 {
        self.bytes.arbitrary().unwrap_or_default()
    }

    pub fn odds(&mut self, one_in: u8) -> bool {
        self.byte() % one_in == one_in - 1
    }

    pub fn index(&mut self, len: usize) -> usize {
        usize::from(self.byte()) % len.max(1)
    }

    pub fn number(&mut self) -> u64 {
        match self.byte() % 8 {
            0 => 0,
            1 => u64::MAX,
            2 => i64::MAX as u64,
            3 => self.bytes.arbitrary().unwrap_or_default(),
            _ => u64::from(self.byte()),
        }
    }

    pub fn enumerator(&mut self) -> u32 {
        if self.odds(8) { self.number() as u32 } else { u32::from(self.byte() % 5) }
    }

    pub fn now(&mut self) -> u64 {
        match self.byte() % 16 {
            0 => self.number(),
            1 => NOW_MS + 86_400_000 * u64::from(self.byte()),
            _ => NOW_MS + 1_000 * u64::from(self.byte()),
        }
    }

    /// Memory of exactly this size, so that a read past it is seen.
    pub fn keep(&mut self, bytes: &[u8]) -> *const u8 {
        let kept: Box<[u8]> = bytes.into();
        let at = kept.as_ptr();
        self.kept.push(kept);
        at
    }

    fn some_bytes(&mut self, at_most: usize) -> Vec<u8> {
        let len = self.index(at_most + 1);
        let mut bytes = vec![0; len];
        let _ = self.bytes.fill_buffer(&mut bytes);
        bytes
    }

    fn hostile(&mut self) -> (*const u8, usize) {
        match self.byte() % 4 {
            0 => (null(), 0),
            1 => (null(), self.number() as usize),
            2 => (self.keep(b"x"), usize::MAX - self.index(255)),
            _ => (self.keep(b"\xff\xfe\0"), 3),
        }
    }

    pub fn blob(&mut self) -> (*const u8, usize) {
        if self.odds(16) {
            return self.hostile();
        }
        let bytes = self.some_bytes(80);
        (self.keep(&bytes), bytes.len())
    }

    /// One of `usual`, mostly.
    pub fn text_of(&mut self, usual: &[&str]) -> (*const c_char, usize) {
        let (data, len) = match self.byte() % 16 {
            14 => self.hostile(),
            15 => self.blob(),
            _ => {
                let text = usual[self.index(usual.len())];
                (self.keep(text.as_bytes()), text.len())
            }
        };
        (data.cast(), len)
    }

    pub fn text(&mut self) -> (*const c_char, usize) {
        self.text_of(TEXTS)
    }

    pub fn reply(&mut self) -> (*const u8, usize) {
        if self.odds(4) {
            return self.blob();
        }
        let reply = REPLIES[self.index(REPLIES.len())];
        (self.keep(reply), reply.len())
    }

    /// 32 bytes, mostly the digest that is given.
    pub fn digest(&mut self, usual: &[u8; 32]) -> *const u8 {
        match self.byte() % 8 {
            0 => null(),
            1 => {
                let one = [self.byte(); 32];
                self.keep(&one)
            }
            _ => self.keep(usual),
        }
    }

    fn size_of<T>(&mut self) -> usize {
        let size = size_of::<T>();
        match self.byte() % 32 {
            30 => self.index(size),
            31 => size.saturating_add(5_000).saturating_add(self.number() as usize),
            _ => size,
        }
    }

    fn headers(&mut self) -> (*const tollgate_header_t, usize) {
        if self.odds(32) {
            let (data, len) = self.hostile_row();
            return (data.cast(), len);
        }
        const NAMES: &[&str] =
            &["Authorization", "Idempotency-Key", "X-Forwarded-For", "Content-Type", "Forwarded"];
        const VALUES: &[&str] = &[
            "Bearer tg-fuzz-token-0123456789abcdef",
            "key-1",
            "key-2",
            "10.0.0.1",
            "for=\"[::1]\"",
            "Bearer x",
        ];
        let mut row = Vec::new();
        for _ in 0..self.index(4) {
            let (name, name_len) = self.text_of(NAMES);
            let (value, value_len) = self.text_of(VALUES);
            row.push(tollgate_header_t { name, name_len, value, value_len });
        }
        // Good credentials come most often, or nothing further in is reached.
        if !self.odds(8) {
            let (name, value) = ("Authorization", format!("Bearer {TOKEN}"));
            row.push(tollgate_header_t {
                name: self.keep(name.as_bytes()).cast(),
                name_len: name.len(),
                value: self.keep(value.as_bytes()).cast(),
                value_len: value.len(),
            });
        }
        let row = row.into_boxed_slice();
        let given = (row.as_ptr(), row.len());
        self.headers.push(row);
        given
    }

    /// A row that cannot be: aligned, so that the length is what is wrong.
    fn hostile_row(&mut self) -> (*const u8, usize) {
        match self.byte() % 3 {
            0 => (null(), 3),
            1 => (core::ptr::without_provenance(8), usize::MAX / 2 + self.index(200)),
            _ => (core::ptr::without_provenance(3), 1),
        }
    }

    fn texts(&mut self) -> (*const tollgate_str_t, usize) {
        if self.odds(32) {
            let (data, len) = self.hostile_row();
            return (data.cast(), len);
        }
        let mut row = Vec::new();
        for _ in 0..self.index(4) {
            let (data, len) = self.text();
            row.push(tollgate_str_t { data, len });
        }
        let row = row.into_boxed_slice();
        let given = (row.as_ptr(), row.len());
        self.strs.push(row);
        given
    }

    fn spend_caps(&mut self) -> (*const tollgate_spend_cap_t, usize) {
        if self.odds(32) {
            let (data, len) = self.hostile_row();
            return (data.cast(), len);
        }
        let mut row = Vec::new();
        for _ in 0..self.index(3) {
            row.push(tollgate_spend_cap_t {
                amount: self.number(),
                per: self.enumerator(),
                shadow: self.byte(),
            });
        }
        let row = row.into_boxed_slice();
        let given = (row.as_ptr(), row.len());
        self.caps.push(row);
        given
    }

    pub fn request(&mut self) -> tollgate_request_t {
        let mut request = zeroed::<tollgate_request_t>();
        request.struct_size = self.size_of::<tollgate_request_t>();
        request.now_ms = self.now();
        (request.method, request.method_len) = self.text_of(&["POST", "GET", "HEAD"]);
        (request.target, request.target_len) =
            self.text_of(&["/sms/send", "/messages/7?a=b", "/otp/send", "/none"]);
        (request.headers, request.headers_len) = self.headers();
        (request.peer, request.peer_len) = match self.byte() % 8 {
            0 => self.blob(),
            1 => (null(), 0),
            2 => (self.keep(&[0x20; 16]), 16),
            _ => (self.keep(&[10, 0, 0, 1]), 4),
        };
        (request.body, request.body_len) = self.blob();
        if self.odds(8) {
            request.body_sha256 = self.keep(&[7; 32]);
        }
        request.cost = self.number();
        request.has_cost = self.byte() % 3;
        request.peek = u8::from(self.odds(8));
        if self.odds(4) {
            (request.sender, request.sender_len) = self.text();
        }
        if self.odds(16) {
            (request.invalid, request.invalid_len) = self.text();
        }
        request
    }

    pub fn finish(&mut self) -> tollgate_finish_t {
        let mut finish = zeroed::<tollgate_finish_t>();
        finish.struct_size = self.size_of::<tollgate_finish_t>();
        finish.outcome = self.enumerator();
        finish.has_amount = self.byte() % 3;
        finish.amount = self.number();
        if self.odds(2) {
            let mut response = zeroed::<tollgate_response_t>();
            response.struct_size = self.size_of::<tollgate_response_t>();
            response.status = if self.odds(8) { self.enumerator() } else { 200 };
            response.body_omitted = self.byte() % 3;
            (response.headers, response.headers_len) = self.headers();
            (response.body, response.body_len) = self.blob();
            let response = Box::new(response);
            finish.response = &*response;
            self.responses.push(response);
        }
        finish
    }

    pub fn account_settings(&mut self) -> tollgate_account_settings_t {
        let mut settings = zeroed::<tollgate_account_settings_t>();
        settings.struct_size = self.size_of::<tollgate_account_settings_t>();
        (settings.networks, settings.networks_len) = self.texts();
        (settings.spend_caps, settings.spend_caps_len) = self.spend_caps();
        (settings.senders, settings.senders_len) = self.texts();
        settings.set_networks = u8::from(self.odds(8));
        settings.set_spend_caps = self.byte() % 2;
        settings.set_senders = self.byte() % 2;
        settings
    }

    pub fn token_settings(&mut self) -> tollgate_token_settings_t {
        let mut settings = zeroed::<tollgate_token_settings_t>();
        settings.struct_size = self.size_of::<tollgate_token_settings_t>();
        (settings.scopes, settings.scopes_len) = self.texts();
        (settings.networks, settings.networks_len) = self.texts();
        (settings.spend_caps, settings.spend_caps_len) = self.spend_caps();
        (settings.quota_limit, settings.quota_window_ms) = (self.number(), self.number());
        settings.expires_ms = self.now();
        settings.set_scopes = self.byte() % 2;
        settings.set_networks = u8::from(self.odds(8));
        settings.set_spend_caps = self.byte() % 2;
        settings.set_quota = self.byte() % 4;
        settings.set_expires = self.byte() % 4;
        settings
    }

    pub fn memory_options(&mut self) -> tollgate_memory_options_t {
        let mut options = zeroed::<tollgate_memory_options_t>();
        options.struct_size = self.size_of::<tollgate_memory_options_t>();
        options.max_tokens = self.index(4);
        options.max_cells = self.index(4);
        options.max_claims = self.index(4);
        options.max_reservations = self.index(4);
        options.max_per_account = self.index(4);
        options
    }

    pub fn redis_options(&mut self) -> tollgate_redis_options_t {
        let mut options = zeroed::<tollgate_redis_options_t>();
        options.struct_size = self.size_of::<tollgate_redis_options_t>();
        (options.prefix, options.prefix_len) = self.text();
        (options.connect_timeout_ms, options.response_timeout_ms) = (self.number(), self.number());
        options.connections = self.number() as usize;
        (options.root_certificates, options.root_certificates_len) = self.blob();
        options.cluster = self.byte() % 3;
        options
    }
}

/// A struct of the interface as C callers begin with it.
fn zeroed<T: Copy>() -> T {
    // SAFETY: used for structs of the interface only, of which any bytes are a value.
    unsafe { core::mem::zeroed() }
}
