//! The engine, over the store in memory.

use std::cell::RefCell;
use std::sync::Arc;

use tollgate::{CompiledPolicy, Decision, Engine, Pepper, PolicyConfig, TraceStep, Warning, lint};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::admin::{Call, administer};
use crate::buffer::{with_input, write_output};
use crate::error::{Fault, write_place};
use crate::flat::{FlatRequest, code, read_ending, write_decision};
use crate::json::{JsonText, json_list};
use crate::memory::RawMemoryStore;
use crate::work::{at_once, explain, finish};

/// See `Engine` of the package.
#[wasm_bindgen]
#[derive(Debug)]
pub struct RawEngine {
    now: RefCell<Loaded>,
    /// The latest decision that [`decide`](Self::decide) made.
    latest: RefCell<Option<(Arc<Engine>, Decision)>>,
    /// Why the latest call gave -1.
    failed: RefCell<Option<Fault>>,
}

/// A policy as it was written, and what was made of it.
#[derive(Clone, Debug)]
struct Loaded {
    config: PolicyConfig,
    engine: Arc<Engine>,
}

fn read_policy(text: &str) -> Result<(PolicyConfig, CompiledPolicy), Fault> {
    let config = PolicyConfig::from_json(text)?;
    match config.compile() {
        Ok(policy) => Ok((config, policy)),
        // The same errors, with their lines.
        Err(errors) => Err(CompiledPolicy::from_json(text).err().unwrap_or(errors).into()),
    }
}

impl RawEngine {
    fn open(text: &str, pepper: Option<Vec<u8>>) -> Result<Self, Fault> {
        let (config, policy) = read_policy(text)?;
        let mut engine = Engine::new(policy);
        if let Some(key) = pepper {
            let pepper = Pepper::new(&key).map_err(|error| Fault::invalid(error.to_string()))?;
            engine = engine.with_pepper(pepper);
        }
        let now = RefCell::new(Loaded { config, engine: Arc::new(engine) });
        Ok(RawEngine { now, latest: RefCell::default(), failed: RefCell::default() })
    }

    fn replace(&self, text: &str) -> Result<(), Fault> {
        let (config, policy) = read_policy(text)?;
        let mut now = self.now.borrow_mut();
        now.engine = Arc::new(now.engine.with_policy(policy));
        now.config = config;
        Ok(())
    }

    /// The engine of now: what began under it ends under it.
    pub(crate) fn engine(&self) -> Arc<Engine> {
        Arc::clone(&self.now.borrow().engine)
    }

    fn or_minus_one(&self, done: Result<i32, Fault>) -> i32 {
        done.unwrap_or_else(|fault| {
            *self.failed.borrow_mut() = Some(fault);
            -1
        })
    }
}

/// The checks of a decision, as JSON.
pub(crate) fn steps_json(steps: &[TraceStep]) -> String {
    let mut json = JsonText::default();
    json.word("{").name("steps").word("[");
    for step in steps {
        json.word("{").name("check").variant(&step.check);
        json.name("rule").text(&step.rule).name("observed").text(&step.observed);
        json.name("result").variant(&step.result).name("fix");
        match &step.fix {
            Some(fix) => json.text(fix),
            None => json.word("null"),
        };
        json.close('}');
    }
    json.close(']').close('}');
    json.into_string()
}

#[wasm_bindgen]
impl RawEngine {
    /// An engine for a policy as JSON text.
    ///
    /// # Errors
    /// A policy that does not compile, or a pepper that is too short; the same with all that follow.
    #[wasm_bindgen(constructor)]
    pub fn new(policy: &str, pepper: Option<Vec<u8>>) -> Result<RawEngine, JsValue> {
        Ok(RawEngine::open(policy, pepper)?)
    }

    /// Replaces the policy. One that does not compile changes nothing.
    #[allow(clippy::missing_errors_doc)]
    pub fn reload(&self, policy: &str) -> Result<(), JsValue> {
        Ok(self.replace(policy)?)
    }

    /// What is valid and probably not meant, as JSON.
    #[must_use]
    pub fn lint(&self) -> String {
        let mut json = JsonText::default();
        json.word("[");
        for Warning { place, message, .. } in &lint(&self.now.borrow().config) {
            write_place(&mut json, place, None, message);
        }
        json.close(']');
        json.into_string()
    }

    /// The names of the headers that decisions read, as JSON.
    #[wasm_bindgen(js_name = headerNames)]
    #[must_use]
    pub fn header_names(&self) -> String {
        json_list(self.engine().policy().header_names().iter().copied())
    }

    /// Decides the request in the first `len` bytes of the input. Gives `status × 4 + verdict`, or -1: see
    /// [`failure`](Self::failure).
    #[must_use]
    pub fn decide(&self, store: &RawMemoryStore, len: usize) -> i32 {
        let engine = self.engine();
        let decided = with_input(len, |bytes| {
            let request = FlatRequest::read(bytes)?;
            Ok(engine.decide(&store.store, &request.lend()))
        });
        self.or_minus_one(decided.map(|decision| {
            let code = code(&decision);
            *self.latest.borrow_mut() = Some((engine, decision));
            code
        }))
    }

    /// Writes all that is to be told of the latest decision to the output; gives its length, 0 if there is none.
    pub fn answer(&self, store: &RawMemoryStore) -> usize {
        let latest = self.latest.borrow();
        let Some((engine, decision)) = &*latest else { return 0 };
        let account = decision
            .account()
            .and_then(|account| tollgate::Admin::new(&store.store).account_id(account, 0).ok());
        write_output(|output| write_decision(output, engine, decision, account.as_ref()))
    }

    /// Why the latest call gave -1, as JSON.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.failed.borrow_mut().take().map(|fault| fault.to_json())
    }

    /// Explains the request in the input: its decision goes to the output, and the checks are given as JSON.
    ///
    /// # Errors
    /// Bytes that are no request.
    pub fn explain(&self, store: &RawMemoryStore, len: usize) -> Result<String, JsValue> {
        let engine = self.engine();
        let explained = with_input(len, |bytes| {
            let request = FlatRequest::read(bytes)?;
            at_once(explain(&engine, &request.lend(), &store.store))
        });
        let (explanation, account) = explained?;
        write_output(|output| {
            write_decision(output, &engine, &explanation.decision, account.as_ref());
        });
        Ok(steps_json(&explanation.steps))
    }

    /// Finishes a request as the input says; gives what was posted.
    ///
    /// # Errors
    /// What the store refuses, or bytes that are no outcome.
    pub fn finish(&self, store: &RawMemoryStore, len: usize) -> Result<Option<u64>, JsValue> {
        let ending = with_input(len, read_ending)?;
        Ok(at_once(finish(&ending, &store.store))??)
    }

    /// Administers, as the JSON says; the answer is JSON. An outcome stands in the first `len` bytes of the input.
    ///
    /// # Errors
    /// What the store refuses, or what is not understood.
    pub fn administer(
        &self,
        store: &RawMemoryStore,
        call: &str,
        now_ms: u64,
        len: usize,
    ) -> Result<String, JsValue> {
        let call = Call::read(call, &self.engine(), len)?;
        Ok(at_once(administer(call, now_ms, &store.store))??)
    }
}
