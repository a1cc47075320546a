//! Every question and who is asked: one list, for whoever measures.

use std::fmt;

use tollgate_bench::{Composed, Get, Post, Tokens, Tollgate};

use crate::PeerStack;
use crate::authorizers::{
    Authorizer, CALLER, Casbin, CasbinCached, Cedar, Grants, Rego, RegoInterpreted, Routes, Scopes,
    question,
};
use crate::limiters::{Governor, Limitador, Limiter, MemoryCells, RegionCells, Terms};

/// How many tokens, or keys of limiters, there are, and what that is called.
pub const SIZES: [(&str, usize); 2] = [("1 k", 1_000), ("1 M", 1_000_000)];

/// The smallest of them, to see quickly that everything works.
pub const SMALL: [(&str, usize); 1] = [SIZES[0]];

/// The orders in which a limiter's keys are used: the first so many over and over, or all at random.
pub const LIMITER_KEYS: [(&str, usize); 2] = [("hot", 64), ("random", usize::MAX)];

/// A question, in which case, to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    /// `limit`, `authorize`, `get` or `post`.
    pub question: &'static str,
    /// The number of keys or tokens, or the answer.
    pub case: &'static str,
    /// Who.
    pub contender: &'static str,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}: {}", self.question, self.case, self.contender)
    }
}

/// Who asks.
pub trait Examiner {
    /// One check of a limit of `keys` keys.
    fn limiter<L: Limiter>(&mut self, id: Id, keys: usize, new: impl FnOnce() -> L);

    /// The answer to each of these questions must be `allowed`.
    fn authorizer(
        &mut self,
        id: Id,
        questions: &[(String, String)],
        allowed: bool,
        authorizer: impl Authorizer,
    );

    /// A GET with one of these tokens.
    fn get<C: Get>(&mut self, id: Id, tokens: &Tokens, new: impl FnOnce() -> C);

    /// A POST with one of these tokens.
    fn post<C: Post>(&mut self, id: Id, tokens: &Tokens, new: impl FnOnce() -> C);
}

/// Asks everything of everyone, with so many keys and tokens: [`SIZES`], or some of them.
pub fn examine(examiner: &mut impl Examiner, sizes: &[(&'static str, usize)]) {
    for &(case, keys) in sizes {
        limiters(examiner, case, keys);
    }
    authorizers(examiner);
    for &(case, count) in sizes {
        decisions(examiner, case, &Tokens::new(count), count);
    }
}

fn limiters(examiner: &mut impl Examiner, case: &'static str, keys: usize) {
    let id = |contender| Id { question: "limit", case, contender };
    let terms = Terms::AMPLE;
    examiner.limiter(id("governor"), keys, || Governor::new(terms));
    examiner.limiter(id("limitador"), keys, || Limitador::new(terms, keys));
    examiner.limiter(id("tollgate, memory"), keys, || MemoryCells::new(terms, keys));
    examiner.limiter(id("tollgate, region"), keys, || RegionCells::new(terms, keys));
}

fn authorizers(examiner: &mut impl Examiner) {
    let grants = Routes::grants();
    for (case, allowed) in [("allowed", true), ("denied", false)] {
        let id = |contender| Id { question: "authorize", case, contender };
        let asked = questions(&grants, allowed);
        examiner.authorizer(id("cedar"), &asked, allowed, Cedar::new(&grants, CALLER));
        examiner.authorizer(id("regorus"), &asked, allowed, Rego::new(&grants, CALLER));
        let interpreted = RegoInterpreted::new(&grants, CALLER);
        examiner.authorizer(id("regorus, interpreter"), &asked, allowed, interpreted);
        examiner.authorizer(id("casbin"), &asked, allowed, Casbin::new(&grants, CALLER));
        let cached = CasbinCached::new(&grants, CALLER);
        examiner.authorizer(id("casbin, cached"), &asked, allowed, cached);
        examiner.authorizer(id("tollgate"), &asked, allowed, Scopes::new(&grants, CALLER));
    }
}

/// A request for every route that the caller may call, or may not.
fn questions(grants: &Grants, allowed: bool) -> Vec<(String, String)> {
    let scopes = grants.iter();
    let scopes = scopes.filter(|(scope, _)| CALLER.contains(&scope.as_str()) == allowed);
    scopes.flat_map(|(_, routes)| routes).map(|route| question(route)).collect()
}

fn decisions(examiner: &mut impl Examiner, case: &'static str, tokens: &Tokens, count: usize) {
    let get = |contender| Id { question: "get", case, contender };
    examiner.get(get("by hand"), tokens, || Composed::new(count));
    examiner.get(get("cedar + governor"), tokens, || PeerStack::new(count));
    examiner.get(get("tollgate"), tokens, || Tollgate::new(count));
    let post = |contender| Id { question: "post", case, contender };
    examiner.post(post("by hand, claim alone"), tokens, || Composed::new(count));
    examiner.post(post("tollgate, whole cycle"), tokens, || Tollgate::new(count));
}
