//! Rego, in regorus: one rule over a table of grants.

use std::sync::Arc;

use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::vm::RegoVM;
use regorus::{CompiledPolicy, Engine, Value};

use super::{Authorizer, Grants, Routes};

/// One of the caller's scopes is among those of the route: objects as sets, which are looked up and not
/// walked.
const POLICY: &str = r"
package api

default allow := false

allow if {
    some scope in input.scopes
    data.grants[input.route][scope]
}
";

const RULE: &str = "data.api.allow";

/// regorus' virtual machine: the policy is compiled to bytecode once, and the machine is kept, as in
/// its own measurements of a hot policy.
pub struct Rego {
    inputs: Inputs,
    machine: RegoVM,
}

impl Rego {
    /// A caller with these scopes.
    ///
    /// # Panics
    /// When the policy does not compile.
    #[must_use]
    pub fn new(grants: &Grants, scopes: &[&str]) -> Self {
        let policy = compiled(grants);
        let program = Compiler::compile_from_policy(&policy, &[RULE]).expect("a program");
        let mut machine = RegoVM::new();
        machine.load_program(program);
        machine.set_data(data(grants)).expect("data");
        Rego { inputs: Inputs::new(grants, scopes), machine }
    }
}

impl Authorizer for Rego {
    fn allows(&mut self, method: &str, path: &str) -> bool {
        let Some(input) = self.inputs.of(method, path) else { return false };
        self.machine.set_input(input);
        self.machine.execute().expect("it evaluates") == Value::Bool(true)
    }
}

/// regorus' interpreter, with the policy compiled once.
pub struct RegoInterpreted {
    inputs: Inputs,
    policy: CompiledPolicy,
}

impl RegoInterpreted {
    /// A caller with these scopes.
    #[must_use]
    pub fn new(grants: &Grants, scopes: &[&str]) -> Self {
        RegoInterpreted { inputs: Inputs::new(grants, scopes), policy: compiled(grants) }
    }
}

impl Authorizer for RegoInterpreted {
    fn allows(&mut self, method: &str, path: &str) -> bool {
        let Some(input) = self.inputs.of(method, path) else { return false };
        self.policy.eval_with_input(input).expect("it evaluates") == Value::Bool(true)
    }
}

/// The parts of an input are made once; a decision puts two of them into an object.
struct Inputs {
    routes: Routes,
    names: Vec<Value>,
    scopes: Value,
    keys: [Value; 2],
}

impl Inputs {
    fn new(grants: &Grants, scopes: &[&str]) -> Self {
        let routes = Routes::of(grants);
        let names = routes.names().iter().map(|name| Value::from(name.as_str())).collect();
        let scopes: Vec<Value> = scopes.iter().map(|scope| Value::from(*scope)).collect();
        let keys = ["route", "scopes"].map(Value::from);
        Inputs { routes, names, scopes: scopes.into(), keys }
    }

    fn of(&self, method: &str, path: &str) -> Option<Value> {
        let route = self.names.get(self.routes.find(method, path)?)?;
        let mut input = Value::new_object();
        let fields = input.as_object_mut().expect("it is an object");
        let [of_route, of_scopes] = &self.keys;
        fields.insert(of_route.clone(), route.clone());
        fields.insert(of_scopes.clone(), self.scopes.clone());
        Some(input)
    }
}

fn compiled(grants: &Grants) -> CompiledPolicy {
    let mut engine = Engine::new();
    engine.add_policy("api.rego".into(), POLICY.into()).expect("a policy");
    engine.add_data(data(grants)).expect("data");
    engine.compile_with_entrypoint(&Arc::from(RULE)).expect("it compiles")
}

fn data(grants: &Grants) -> Value {
    let mut by_route = serde_json::Map::new();
    for (scope, routes) in grants {
        for route in routes {
            let scopes = by_route.entry(route.clone()).or_insert_with(|| serde_json::json!({}));
            scopes.as_object_mut().expect("an object").insert(scope.clone(), true.into());
        }
    }
    serde_json::json!({ "grants": by_route }).into()
}
