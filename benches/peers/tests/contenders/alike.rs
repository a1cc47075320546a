//! Everyone gives the same answers to the same questions.

use std::collections::BTreeSet;

use tollgate_bench::{Composed, Get, Tokens, Tollgate};
use tollgate_peers::authorizers::{
    Authorizer, CALLER, Casbin, CasbinCached, Cedar, Grants, Rego, RegoInterpreted, Routes, Scopes,
    question,
};
use tollgate_peers::limiters::{
    Governor, Limitador, Limiter, MemoryCells, RegionCells, Terms, drain,
};
use tollgate_peers::pairs::{FIRST, GovernorTwice, LimitadorPair, Pair, SECOND, TollgatePair};
use tollgate_peers::{Examiner, Id, PeerStack, SIZES, START_MS, examine};

/// A request for every route, and some that match none.
fn questions(grants: &Grants) -> Vec<(String, String)> {
    let routes = grants.values().flatten().map(|route| question(route));
    let others = [("GET", "/nowhere"), ("DELETE", "/messages"), ("GET", "/messages/a/b")];
    routes.chain(others.map(|(method, path)| (method.into(), path.into()))).collect()
}

/// What the preset says, without any engine.
fn expected(grants: &Grants, scopes: &[&str], asked: &(String, String)) -> bool {
    let granted = grants.iter().filter(|(scope, _)| scopes.contains(&scope.as_str()));
    granted.flat_map(|(_, routes)| routes).any(|route| question(route) == *asked)
}

fn answers(mut authorizer: impl Authorizer, scopes: &[&str]) {
    let grants = Routes::grants();
    let name = std::any::type_name_of_val(&authorizer).to_owned();
    // Twice: a cache must not change an answer.
    for _ in 0..2 {
        for asked in questions(&grants) {
            let allowed = authorizer.allows(&asked.0, &asked.1);
            assert_eq!(allowed, expected(&grants, scopes, &asked), "{name} {scopes:?} {asked:?}");
        }
    }
}

#[test]
fn authorizers_answer_as_the_preset_says() {
    let grants = Routes::grants();
    let all: Vec<&str> = grants.keys().map(String::as_str).collect();
    let mut callers: Vec<Vec<&str>> = all.iter().map(|scope| vec![*scope]).collect();
    callers.extend([vec![], CALLER.to_vec(), all]);
    for scopes in callers {
        answers(Cedar::new(&grants, &scopes), &scopes);
        answers(Rego::new(&grants, &scopes), &scopes);
        answers(RegoInterpreted::new(&grants, &scopes), &scopes);
        answers(Casbin::new(&grants, &scopes), &scopes);
        answers(CasbinCached::new(&grants, &scopes), &scopes);
        answers(Scopes::new(&grants, &scopes), &scopes);
    }
}

/// Each key has the whole quota at once, and nothing more.
fn admits_its_quota(limiter: &impl Limiter) {
    for key in 0..3 {
        assert_eq!(drain(limiter, key, 1_000), 120, "key {key}");
        assert_eq!(drain(limiter, key, 1_000), 0, "key {key}");
    }
}

#[test]
fn limiters_admit_a_quota_for_each_key() {
    let terms = Terms { units: 120, window_s: 3_600 };
    admits_its_quota(&Governor::new(terms));
    admits_its_quota(&Limitador::new(terms, 3));
    admits_its_quota(&MemoryCells::new(terms, 3));
    admits_its_quota(&RegionCells::new(terms, 3));
}

/// Where time is simulated, units come back one by one, at the same times.
fn refills(limiter: &impl Limiter) {
    let key = limiter.key(1);
    assert_eq!(drain(limiter, 1, 1_000), 120);
    assert!(!limiter.take(&key, START_MS + 499));
    assert!(limiter.take(&key, START_MS + 500));
    assert!(!limiter.take(&key, START_MS + 999));
    assert!(limiter.take(&key, START_MS + 1_000));
}

#[test]
fn limiters_refill_at_the_same_times() {
    let terms = Terms { units: 120, window_s: 60 };
    refills(&Governor::new(terms));
    refills(&MemoryCells::new(terms, 3));
    refills(&RegionCells::new(terms, 3));
}

/// A known token has its quota; a stranger has nothing.
fn decides(contender: &impl Get) {
    let mut values = Vec::new();
    Tokens::new(11).each(|value, _| values.push(value.to_vec()));
    assert_eq!((0..1_000).filter(|_| contender.get(&values[0], START_MS)).count(), 120);
    assert!(contender.get(&values[1], START_MS));
    assert!(!contender.get(&values[10], START_MS), "only ten tokens are known");
    assert!(!contender.get(b"Basic x", START_MS));
}

#[test]
fn whole_decisions_are_alike() {
    decides(&Composed::new(10));
    decides(&PeerStack::new(10));
    decides(&Tollgate::new(10));
}

fn both_limits_hold(pair: &impl Pair) {
    assert_eq!((0..300).filter(|_| pair.both()).count(), SECOND as usize);
    assert!(pair.first(), "the first limit has units left");
    assert!(FIRST > 300);
}

#[test]
fn pairs_of_limits_are_alike() {
    both_limits_hold(&GovernorTwice::default());
    both_limits_hold(&LimitadorPair::default());
    both_limits_hold(&TollgatePair::default());
}

/// Notes who is asked what.
#[derive(Default)]
struct Roll(BTreeSet<String>);

impl Examiner for Roll {
    fn limiter<L: Limiter>(&mut self, id: Id, _: usize, _: impl FnOnce() -> L) {
        assert!(self.0.insert(id.to_string()));
    }

    fn authorizer(
        &mut self,
        id: Id,
        questions: &[(String, String)],
        allowed: bool,
        mut authorizer: impl Authorizer,
    ) {
        assert!(questions.iter().all(|(method, path)| authorizer.allows(method, path) == allowed));
        assert!(questions.len() > 5, "{} questions", questions.len());
        assert!(self.0.insert(id.to_string()));
    }

    fn get<C: Get>(&mut self, id: Id, _: &Tokens, _: impl FnOnce() -> C) {
        assert!(self.0.insert(id.to_string()));
    }

    fn post<C: tollgate_bench::Post>(&mut self, id: Id, _: &Tokens, _: impl FnOnce() -> C) {
        assert!(self.0.insert(id.to_string()));
    }
}

#[test]
fn every_contender_is_asked_every_case_of_its_questions() {
    let mut roll = Roll::default();
    examine(&mut roll, &SIZES);
    let of = |question: &str| roll.0.iter().filter(|id| id.starts_with(question)).count();
    assert_eq!([of("limit"), of("authorize"), of("get"), of("post")], [8, 12, 6, 4]);
}
