//! Module directions: which module of the core may import which.
//!
//! Read from the tokens of the sources, so that comments, strings and documentation do not count.
//! Tests may import anything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::files::{read, rust_files};
use crate::run::{Failure, announce, relative, root};

/// Each module of the core, and the modules that it may import. From the ground up: a module imports
/// only those that stand above it here; `MUTUAL` has the two exceptions.
#[rustfmt::skip] // one module a line, so that it reads as a table
const ALLOWED: &[(&str, &[&str])] = &[
    // Words and arithmetic.
    ("status",       &[]),
    ("path",         &[]),
    ("sha256",       &[]),
    ("crc32",        &[]),
    ("token",        &["sha256", "crc32"]),
    ("ledger",       &["token", "idempotency"]),
    ("limit",        &["sha256", "token", "ledger"]),
    ("request",      &["ledger"]),
    ("idempotency",  &["sha256", "ledger", "limit", "request"]),
    // What people write.
    ("policy",       &["path", "token", "ledger", "limit", "idempotency"]),
    // Single stages: each knows the request and the policy's words, none knows another stage.
    ("client_ip",    &["request", "policy"]),
    ("authenticate", &["token", "request"]),
    // What stores are asked, and what becomes of their records.
    ("command",      &["token", "ledger", "limit", "idempotency", "policy"]),
    ("authorize",    &["client_ip", "command"]),
    ("transition",   &["token", "ledger", "limit", "idempotency", "policy", "command"]),
    ("store",        &["token", "ledger", "limit", "idempotency", "policy", "command", "transition"]),
    // The decision and what is told of it.
    ("decision",     &["status", "ledger", "idempotency", "policy", "command", "store"]),
    ("answer",       &["status", "limit", "policy", "command", "decision"]),
    ("explain",      &["token", "ledger", "limit", "request", "policy", "authenticate", "command", "decision"]),
    // The only ones that see every stage.
    ("evaluate",     &["status", "token", "ledger", "limit", "request", "idempotency", "policy", "client_ip",
                       "authenticate", "command", "authorize", "store", "decision", "explain", "engine"]),
    ("engine",       &["token", "request", "policy", "client_ip", "command", "store", "decision", "answer", "explain",
                       "evaluate"]),
    ("live",         &["policy", "engine"]),
    ("admin",        &["token", "ledger", "command", "store"]),
];

/// Two modules that know each other, and why.
#[cfg(test)]
const MUTUAL: &[(&str, &str, &str)] = &[
    ("ledger", "idempotency", "a reservation names its claim, and a claim its reservation"),
    ("evaluate", "engine", "the engine starts evaluations, which borrow its policy and pepper"),
];

/// Fails when a module of the core imports one that it may not.
pub(crate) fn check() -> Result<(), Failure> {
    announce("module directions");
    let imports = imports_of_core()?;
    let edges: usize = imports.modules.values().map(BTreeMap::len).sum();
    let faults = faults(&imports);
    if faults.is_empty() {
        println!("{} modules, {edges} imports, all in their direction", imports.modules.len());
        return Ok(());
    }
    Err(Failure(format!(
        "{}\nmove what is needed to the lower module; if the direction is right, say so in \
         ALLOWED in xtask/src/modules.rs",
        faults.join("\n")
    )))
}

/// What the modules of the core import.
#[derive(Default)]
struct Imports {
    /// For each module the modules it imports, each with a file that does so.
    modules: BTreeMap<String, BTreeMap<String, String>>,
    /// Files that name another package of this workspace.
    outward: BTreeSet<String>,
}

fn imports_of_core() -> Result<Imports, Failure> {
    let source = root().join("src");
    let exported = exports(&tokens(&read(&source.join("lib.rs"))?, "src/lib.rs")?);
    let mut imports = Imports::default();
    for path in rust_files(&source)? {
        let below = path.strip_prefix(&source).unwrap_or(&path);
        let Some(place) = Place::of(below) else { continue };
        let name = relative(&path);
        let scan = scan(&tokens(&read(&path)?, &name)?, place.depth);
        if scan.names_a_sibling {
            imports.outward.insert(name.clone());
        }
        let module = imports.modules.entry(place.module.clone()).or_default();
        for imported in scan.imported {
            // A name that the front page exports belongs to the module it comes from.
            let imported = exported.get(&imported).cloned().unwrap_or(imported);
            if imported != place.module {
                module.entry(imported).or_insert_with(|| name.clone());
            }
        }
    }
    Ok(imports)
}

fn faults(imports: &Imports) -> Vec<String> {
    let mut faults: Vec<String> = imports
        .outward
        .iter()
        .map(|file| format!("{file} names a binding or a store; the core knows neither"))
        .collect();
    for (module, imported) in &imports.modules {
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| known == module) else {
            faults.push(format!("src/{module} is new; give it a line in ALLOWED"));
            continue;
        };
        for (other, file) in imported {
            if !allowed.contains(&other.as_str()) && !is_constant(other) {
                faults.push(format!("{file}: `{module}` may not import `{other}`"));
            }
        }
    }
    faults
}

/// Constants of the front page, which every module may read.
fn is_constant(name: &str) -> bool {
    name.chars().all(|char| char.is_ascii_uppercase() || char == '_')
}

/// The cfg under which a scheduler's locks stand in for the core's: a word like a package's, but none.
const SCHEDULED: &str = "tollgate_shuttle";

/// Where a file stands.
struct Place {
    /// The module of the front page that it belongs to.
    module: String,
    /// How many `super` lead from it to the front page.
    depth: usize,
}

impl Place {
    /// Of a path below `src`; none for the front page itself and for tests.
    fn of(path: &Path) -> Option<Place> {
        let stem = path.file_stem()?.to_str()?;
        let mut parts: Vec<&str> = path.parent()?.iter().filter_map(|part| part.to_str()).collect();
        if stem != "mod" {
            parts.push(stem);
        }
        if parts == ["lib"] || parts.contains(&"tests") {
            return None;
        }
        Some(Place { module: (*parts.first()?).to_string(), depth: parts.len() })
    }
}

fn tokens(text: &str, name: &str) -> Result<Vec<TokenTree>, Failure> {
    let stream: TokenStream =
        text.parse().map_err(|error| Failure(format!("{name} is no Rust source: {error}")))?;
    Ok(stream.into_iter().collect())
}

/// Names that `lib.rs` exports, by `pub use module::…`, each with its module.
fn exports(tokens: &[TokenTree]) -> BTreeMap<String, String> {
    let mut exports = BTreeMap::new();
    let mut rest = tokens.iter();
    while let Some(token) = rest.next() {
        if !is_word(token, "use") {
            continue;
        }
        let statement: Vec<TokenTree> =
            rest.by_ref().take_while(|token| !is_punct(token, ';')).cloned().collect();
        let mut names = identifiers(&statement).into_iter();
        let Some(module) = names.next() else { continue };
        exports.extend(names.map(|name| (name, module.clone())));
    }
    exports
}

/// What one file imports.
#[derive(Default)]
struct Scan {
    /// Names that stand directly below the front page, `x` in `crate::x` or `super::x`.
    imported: BTreeSet<String>,
    names_a_sibling: bool,
}

fn scan(tokens: &[TokenTree], depth: usize) -> Scan {
    let mut scan = Scan::default();
    scan_into(tokens, depth, &mut scan);
    scan
}

fn scan_into(tokens: &[TokenTree], depth: usize, scan: &mut Scan) {
    let mut rest = tokens;
    while let Some((token, after)) = rest.split_first() {
        rest = after;
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                if let [TokenTree::Group(attribute), after @ ..] = rest
                    && attribute.stream().to_string().replace(' ', "") == "cfg(test)"
                {
                    rest = after_item(after);
                }
            }
            TokenTree::Group(group) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                scan_into(&inner, depth, scan);
            }
            TokenTree::Ident(word) if word == "crate" => {
                if let Some(path) = after_colons(rest) {
                    scan.imported.extend(first_names(path));
                }
            }
            TokenTree::Ident(word) if word == "super" => {
                let mut supers = 1_usize;
                while let Some([next, after @ ..]) = after_colons(rest)
                    && is_word(next, "super")
                {
                    supers = supers.saturating_add(1);
                    rest = after;
                }
                if let Some(path) = after_colons(rest).filter(|_| supers == depth) {
                    scan.imported.extend(first_names(path));
                }
            }
            TokenTree::Ident(word) => {
                let word = word.to_string();
                scan.names_a_sibling |= word.starts_with("tollgate") && word != SCHEDULED;
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// What follows the item at the head: its braces or its semicolon end it.
fn after_item(tokens: &[TokenTree]) -> &[TokenTree] {
    let ends = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        _ => is_punct(token, ';'),
    };
    let end = tokens.iter().position(ends).unwrap_or(tokens.len());
    tokens.get(end..).and_then(|rest| rest.split_first()).map_or(&[], |(_, after)| after)
}

fn after_colons(tokens: &[TokenTree]) -> Option<&[TokenTree]> {
    match tokens {
        [first, second, rest @ ..] if is_punct(first, ':') && is_punct(second, ':') => Some(rest),
        _ => None,
    }
}

/// `a` of `a::b`, or `a` and `c` of `{a::b, c}`.
fn first_names(path: &[TokenTree]) -> Vec<String> {
    match path.first() {
        Some(TokenTree::Ident(word)) => vec![word.to_string()],
        Some(TokenTree::Group(group)) => {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            inner.split(|token| is_punct(token, ',')).flat_map(first_names).collect()
        }
        _ => Vec::new(),
    }
}

fn identifiers(tokens: &[TokenTree]) -> Vec<String> {
    let mut names = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Ident(word) => names.push(word.to_string()),
            TokenTree::Group(group) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                names.extend(identifiers(&inner));
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
    names
}

fn is_punct(token: &TokenTree, char: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == char)
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imported(text: &str, depth: usize) -> Vec<String> {
        scan(&tokens(text, "test").unwrap(), depth).imported.into_iter().collect()
    }

    #[test]
    fn every_import_of_the_core_has_its_direction() {
        let faults = faults(&imports_of_core().unwrap());
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    #[test]
    fn the_table_only_points_down() {
        let height = |name: &str| ALLOWED.iter().position(|(known, _)| *known == name);
        let mutual = |a: &str, b: &str| {
            MUTUAL.iter().any(|(x, y, _)| (*x, *y) == (a, b) || (*y, *x) == (a, b))
        };
        for (module, allowed) in ALLOWED {
            for other in *allowed {
                assert!(height(other).is_some(), "{module} may import {other}, which has no line");
                assert!(
                    height(other) < height(module) || mutual(module, other),
                    "{module} may import {other}, which stands above it"
                );
            }
        }
    }

    #[test]
    fn the_stages_stay_apart() {
        let may = |module: &str, other: &str| {
            ALLOWED.iter().any(|(known, allowed)| *known == module && allowed.contains(&other))
        };
        let low = ["limit", "ledger", "idempotency", "token", "request", "status", "path"];
        for module in low.into_iter().chain(["client_ip", "policy", "command"]) {
            for other in ["evaluate", "engine", "store", "transition"] {
                assert!(!may(module, other), "{module} may import {other}");
            }
        }
        for other in ["store", "evaluate", "engine", "decision"] {
            assert!(!may("transition", other), "transition may import {other}");
        }
    }

    #[test]
    fn imports_are_found_in_every_form() {
        assert_eq!(imported("use crate::a::B; use crate::{c, d::{E, f}};", 1), ["a", "c", "d"]);
        assert_eq!(imported("fn f() -> crate::a::B { g!(crate::b::c()) }", 1), ["a", "b"]);
        assert_eq!(imported("use super::a; use super::super::b;", 1), ["a"]);
        assert_eq!(imported("use super::a; use super::super::b;", 2), ["b"]);
        assert_eq!(imported("#[error(\"{}\", crate::a::MAX)] enum E {}", 1), ["a"]);
    }

    #[test]
    fn what_is_no_import_does_not_count() {
        let none: [&str; 0] = [];
        assert_eq!(imported("pub(crate) struct A; // crate::a", 1), none);
        assert_eq!(imported("/// [`A`](crate::a::A)\nfn f() { \"crate::b\"; }", 1), none);
        assert_eq!(imported("#[cfg(test)] mod tests { use crate::a; } use crate::b;", 1), ["b"]);
        assert_eq!(imported("#[cfg(test)] use crate::a; use crate::b;", 1), ["b"]);
    }

    #[test]
    fn a_wrong_direction_is_a_fault() {
        let mut imports = Imports::default();
        let edge = BTreeMap::from([("engine".to_string(), "src/limit/mod.rs".to_string())]);
        imports.modules.insert("limit".to_string(), edge);
        imports.modules.insert("novelty".to_string(), BTreeMap::new());
        imports.outward.insert("src/engine.rs".to_string());
        let faults = faults(&imports);
        assert_eq!(faults.len(), 3, "{faults:?}");
        let wrong = "src/limit/mod.rs: `limit` may not import `engine`";
        assert!(faults.iter().any(|fault| fault == wrong), "{faults:?}");
    }

    #[test]
    fn exported_names_belong_to_their_modules() {
        let tokens = tokens("pub use a::{B, c::D}; pub use e::F;", "test").unwrap();
        let exports = exports(&tokens);
        assert_eq!(exports.get("D").map(String::as_str), Some("a"));
        assert_eq!(exports.get("F").map(String::as_str), Some("e"));
    }

    #[test]
    fn a_binding_named_in_the_core_is_seen() {
        assert!(scan(&tokens("use tollgate_tower::Layer;", "test").unwrap(), 1).names_a_sibling);
        assert!(
            !scan(&tokens("// tollgate_tower\nuse core::fmt;", "test").unwrap(), 1).names_a_sibling
        );
    }
}
