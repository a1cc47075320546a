//! Cedar: one policy for each scope, with everything in the policy's head.

use std::collections::HashSet;
use std::fmt::Write;
use std::str::FromStr;

use cedar_policy::{
    Authorizer as Engine, Context, Decision, Entities, Entity, EntityUid, PolicySet, Request,
};

use super::{Authorizer, Grants, Routes};

/// Policies, entities and all names are parsed once. The caller is an entity whose parents are its scopes,
/// routes are actions; conditions are in the head of each policy, where Cedar decides them without
/// evaluating an expression. No schema is checked at run time.
#[derive(Debug)]
pub struct Cedar {
    routes: Routes,
    engine: Engine,
    policies: PolicySet,
    entities: Entities,
    caller: EntityUid,
    actions: Vec<EntityUid>,
    resource: EntityUid,
}

impl Cedar {
    /// A caller with these scopes.
    ///
    /// # Panics
    /// When the policies do not parse.
    #[must_use]
    pub fn new(grants: &Grants, scopes: &[&str]) -> Self {
        let routes = Routes::of(grants);
        let caller = uid("Caller", "caller");
        let parents: HashSet<EntityUid> = scopes.iter().map(|scope| uid("Scope", scope)).collect();
        let known = grants.keys().map(|scope| Entity::new_no_attrs(uid("Scope", scope), [].into()));
        let known = known.chain([Entity::new_no_attrs(caller.clone(), parents)]);
        Cedar {
            engine: Engine::new(),
            policies: PolicySet::from_str(&policies(grants)).expect("policies"),
            entities: Entities::from_entities(known, None).expect("entities"),
            caller,
            actions: routes.names().iter().map(|route| uid("Action", route)).collect(),
            resource: uid("Api", "api"),
            routes,
        }
    }

    /// The same as [`Authorizer::allows`], for many threads.
    #[inline]
    #[must_use]
    pub fn permits(&self, method: &str, path: &str) -> bool {
        let Some(route) = self.routes.find(method, path) else { return false };
        let Some(action) = self.actions.get(route) else { return false };
        let (caller, resource) = (self.caller.clone(), self.resource.clone());
        let request = Request::new(caller, action.clone(), resource, Context::empty(), None);
        let request = request.expect("without a schema every request is valid");
        let response = self.engine.is_authorized(&request, &self.policies, &self.entities);
        response.decision() == Decision::Allow
    }
}

impl Authorizer for Cedar {
    #[inline]
    fn allows(&mut self, method: &str, path: &str) -> bool {
        self.permits(method, path)
    }
}

fn policies(grants: &Grants) -> String {
    let mut text = String::new();
    for (scope, routes) in grants {
        let actions: Vec<String> =
            routes.iter().map(|route| format!("Action::{route:?}")).collect();
        let actions = actions.join(", ");
        writeln!(
            text,
            "permit(principal in Scope::{scope:?}, action in [{actions}], resource == Api::\"api\");"
        )
        .unwrap(); // a String takes everything
    }
    text
}

fn uid(of: &str, name: &str) -> EntityUid {
    let name = cedar_policy::EntityId::new(name);
    EntityUid::from_type_name_and_id(of.parse().expect("a type's name"), name)
}
