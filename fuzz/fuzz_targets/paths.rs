//! Request targets and route patterns, against a matcher that tries them all.
//!
//! An input that begins with `#` is lines: `r` and a route, `q` and a request's method and target, `f` for paths whose trailing
//! slash is folded. So are the seeds.

#![no_main]

use std::collections::BTreeSet;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use tollgate::{CompiledPolicy, Engine, PolicyConfig, Request};
use tollgate_fuzz::Probe;

/// Method and segments of a pattern, and requests: small numbers that are folded into words, or any text.
#[derive(Arbitrary, Debug, Default)]
struct Input {
    patterns: Vec<(Method, Vec<Segment>)>,
    fold_trailing_slash: bool,
    requests: Vec<(Method, Target)>,
}

impl Input {
    fn read(bytes: &[u8]) -> arbitrary::Result<Input> {
        let Some(lines) = bytes.strip_prefix(b"#") else {
            return Input::arbitrary_take_rest(Unstructured::new(bytes));
        };
        let mut input = Input::default();
        for line in lines.split(|byte| *byte == b'\n') {
            let Some((kind, line)) = line.split_first() else { continue };
            let space = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
            let (method, rest) = line.split_at(space);
            let method = Method::Any(String::from_utf8_lossy(method).into_owned());
            let rest = rest.strip_prefix(b" ").unwrap_or_default();
            match kind {
                b'r' => {
                    let text = String::from_utf8_lossy(rest);
                    let segments =
                        text.split('/').skip(1).map(|part| Segment::Any(part.to_owned()));
                    input.patterns.push((method, segments.collect()));
                }
                b'q' => input.requests.push((method, Target::Any(rest.to_vec()))),
                b'f' => input.fold_trailing_slash = true,
                _ => {}
            }
        }
        Ok(input)
    }
}

#[derive(Arbitrary, Debug)]
enum Method {
    Get,
    Usual(u8),
    Any(String),
}

#[derive(Arbitrary, Debug)]
enum Segment {
    Word(u8),
    Odd(u8),
    Parameter(u8),
    Any(String),
}

#[derive(Arbitrary, Debug)]
enum Target {
    /// Segments from the same words, and what follows them.
    Words(Vec<Segment>, Tail),
    /// As a pattern has it, with these segments in the places of its parameters.
    Like(u8, Vec<Segment>, Tail),
    Any(Vec<u8>),
}

#[derive(Arbitrary, Debug)]
enum Tail {
    Nothing,
    Slash,
    Query(Vec<u8>),
    Bytes([u8; 3]),
}

const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "LOCK", "M-SEARCH"];
/// Few, so that patterns and requests meet.
const WORDS: &[&str] = &["a", "b", "messages"];
const ODD: &[&str] =
    &["v1.0", "%20", "%3B", "%2e", "%41", ".", "..", "", "a:b", "~x", "%", "...", ".well-known"];

impl Method {
    fn text(&self) -> &str {
        match self {
            Method::Get => "GET",
            Method::Usual(which) => METHODS[usize::from(*which) % METHODS.len()],
            Method::Any(text) => text,
        }
    }
}

impl Segment {
    fn text(&self) -> String {
        match self {
            Segment::Word(which) => WORDS[usize::from(*which) % WORDS.len()].to_owned(),
            Segment::Odd(which) => ODD[usize::from(*which) % ODD.len()].to_owned(),
            Segment::Parameter(which) => format!("{{p{}}}", which % 4),
            Segment::Any(text) => text.clone(),
        }
    }
}

impl Target {
    fn bytes(&self, patterns: &[(Method, Vec<Segment>)]) -> Vec<u8> {
        let (path, tail) = match self {
            Target::Any(bytes) => return bytes.clone(),
            Target::Words(segments, tail) => (path(segments), tail),
            Target::Like(which, segments, tail) => {
                let pattern = patterns.get(usize::from(*which) % patterns.len().max(1));
                let mut given = segments.iter();
                let parts = pattern.into_iter().flat_map(|(_, parts)| parts);
                let filled = parts.map(|part| match part {
                    Segment::Parameter(_) => given.next().unwrap_or(&Segment::Word(0)),
                    part => part,
                });
                (filled.map(|segment| format!("/{}", segment.text())).collect(), tail)
            }
        };
        let mut bytes = path.into_bytes();
        match tail {
            Tail::Nothing => {}
            Tail::Slash => bytes.push(b'/'),
            Tail::Query(query) => {
                bytes.push(b'?');
                bytes.extend(query);
            }
            Tail::Bytes(more) => bytes.extend(more),
        }
        bytes
    }
}

fn path(segments: &[Segment]) -> String {
    segments.iter().map(|segment| format!("/{}", segment.text())).collect()
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(input) = Input::read(bytes) else { return };
    let mut config = PolicyConfig::default();
    config.tokens.format = tollgate::TokenFormat::Opaque;
    config.paths.fold_trailing_slash = input.fold_trailing_slash;
    let mut patterns: Vec<String> = Vec::new();
    for (method, segments) in input.patterns.iter().take(24) {
        let text = format!("{} {}", method.text(), path(segments));
        // What the policy would refuse is asserted to be refused, and then left out.
        let shape = |text: &str| shape(text);
        let taken = patterns.iter().any(|other| other != &text && shape(other) == shape(&text));
        let alone = one_route(&text);
        assert_eq!(alone.is_ok(), is_pattern(&text), "{text:?}: {alone:?}");
        if is_pattern(&text) && !taken && !patterns.contains(&text) {
            patterns.push(text);
        } else if is_pattern(&text) && taken {
            let mut both = config.clone();
            both.routes.extend([&text].map(|text| (text.clone(), Default::default())));
            both.routes.extend(patterns.iter().map(|text| (text.clone(), Default::default())));
            assert!(both.compile().is_err(), "{text:?} beside {patterns:?}");
        }
    }
    config.routes = patterns.iter().map(|text| (text.clone(), Default::default())).collect();
    let policy = config.compile().expect("each is a pattern, and no two are the same");
    let engine = Engine::new(policy);
    let meets = |method: &str, target: &[u8]| {
        let headers = [("authorization", "Bearer t")];
        let request = Request::new(method.as_bytes(), target, 0).with_headers(&headers);
        let decision = engine.decide(&Probe::open(), &request);
        let route = decision.route().and_then(|id| engine.policy().route(id));
        let expected = canonical(target, input.fold_trailing_slash)
            .and_then(|path| best(&patterns, method, &path));
        assert_eq!(
            route.map(|route| &*route.name),
            expected.as_deref(),
            "{method} {:?} among {patterns:?}",
            String::from_utf8_lossy(target)
        );
    };
    for (method, target) in input.requests.iter().take(24) {
        meets(method.text(), &target.bytes(&input.patterns));
    }
    for (method, path) in between(&patterns) {
        meets(&method, path.as_bytes());
    }
});

/// Requests where patterns meet: each with the words of all in the places of its parameters.
fn between(patterns: &[String]) -> Vec<(String, String)> {
    let all = patterns.iter().flat_map(|pattern| pattern.split('/').skip(1));
    let words: BTreeSet<&str> = all.filter(|part| !part.starts_with('{')).take(6).collect();
    let mut requests = Vec::new();
    for pattern in patterns {
        let (method, path) = pattern.split_once(' ').unwrap();
        let mut paths = vec![String::new()];
        for part in path.split('/').skip(1) {
            let choices: Vec<&str> = match part.starts_with('{') {
                true => words.iter().copied().chain(["z"]).collect(),
                false => vec![part],
            };
            let longer = |path: &String| {
                choices.iter().map(|word| format!("{path}/{word}")).collect::<Vec<_>>()
            };
            paths = paths.iter().flat_map(longer).take(64).collect();
        }
        requests.extend(paths.into_iter().map(|path| (method.to_owned(), path)));
    }
    requests.truncate(256);
    requests
}

fn one_route(text: &str) -> Result<CompiledPolicy, tollgate::PolicyErrors> {
    let mut config = PolicyConfig::default();
    config.routes.insert(text.to_owned(), Default::default());
    config.compile()
}

/// The canonical path, by splitting it and looking at each segment.
fn canonical(target: &[u8], fold: bool) -> Option<String> {
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let path = std::str::from_utf8(path).ok()?;
    if path == "/" {
        return Some(path.to_owned());
    }
    let mut segments: Vec<&str> = path.split('/').collect();
    if segments.len() < 2 || !segments.remove(0).is_empty() {
        return None;
    }
    if segments.len() > 1 && segments.last() == Some(&"") {
        if !fold {
            return None;
        }
        segments.pop();
    }
    let read_alike = |segment: &&str| {
        !["", ".", ".."].contains(segment)
            && segment.chars().all(|c| ('!'..='~').contains(&c) && !";\\#".contains(c))
            && segment.split('%').skip(1).all(|after| after.get(..2).is_some_and(is_needed_escape))
    };
    segments.iter().all(read_alike).then(|| format!("/{}", segments.join("/")))
}

/// An escape of a byte that could not stand for itself, and that nobody reads as a separator.
fn is_needed_escape(digits: &str) -> bool {
    if !digits.chars().all(|c| c.is_ascii_hexdigit()) {
        return false;
    }
    let byte = u8::from_str_radix(digits, 16).unwrap();
    let c = char::from(byte);
    byte >= 32 && byte != 127 && !c.is_ascii_alphanumeric() && !"-._~/\\".contains(c)
}

fn is_pattern(text: &str) -> bool {
    let Some((method, path)) = text.split_once(' ') else { return false };
    let token =
        |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || "!#$%&'*+-.^_`|~".contains(c);
    let mut names = BTreeSet::new();
    let mut segment_is_good = |segment: &str| {
        if !segment.contains(['{', '}']) {
            return true;
        }
        let inner = segment.len() >= 2 && segment.starts_with('{') && segment.ends_with('}');
        let name = if inner { &segment[1..segment.len() - 1] } else { "" };
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        !name.is_empty() && name.chars().all(is_word) && names.insert(name.to_owned())
    };
    !method.is_empty()
        && method != "HEAD"
        && method.chars().all(token)
        && canonical(path.as_bytes(), false).as_deref() == Some(path)
        && path.split('/').skip(1).count() <= 64
        && path.split('/').skip(1).all(&mut segment_is_good)
}

/// A pattern with the names of its parameters taken away: two with one shape match the same.
fn shape(text: &str) -> String {
    let segments = text.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
    segments.collect::<Vec<_>>().join("/")
}

/// The best of all that match: literals before parameters, from the left.
fn best(patterns: &[String], method: &str, path: &str) -> Option<String> {
    let method = if method == "HEAD" { "GET" } else { method };
    let asked: Vec<&str> = path.split('/').skip(1).collect();
    let fits = |pattern: &&String| {
        let (wanted, path) = pattern.split_once(' ').unwrap();
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        wanted == method
            && parts.len() == asked.len()
            && parts.iter().zip(&asked).all(|(part, found)| {
                if part.starts_with('{') { !found.is_empty() } else { part == found }
            })
    };
    let rank = |pattern: &&String| {
        let parts = pattern.split('/').skip(1);
        parts.map(|part| part.starts_with('{')).collect::<Vec<_>>()
    };
    patterns.iter().filter(fits).min_by_key(rank).cloned()
}
