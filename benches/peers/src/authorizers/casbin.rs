//! casbin: role-based access control, a line of policy for each route of each scope.

use ::casbin::{CachedEnforcer, CoreApi, DefaultModel, Enforcer, MemoryAdapter, MgmtApi};
use tokio::runtime::Builder;

use super::{Authorizer, Grants, Routes};

/// The caller has roles, which are its scopes. The comparison that tells most lines apart comes first, so
/// that few lines ask for roles.
const MODEL: &str = r"
[request_definition]
r = sub, route

[policy_definition]
p = sub, route

[role_definition]
g = _, _

[policy_effect]
e = some(where (p.eft == allow))

[matchers]
m = r.route == p.route && g(r.sub, p.sub)
";

/// casbin's enforcer, which walks the lines of the policy.
pub struct Casbin {
    routes: Routes,
    enforcer: Enforcer,
}

impl Casbin {
    /// A caller with these scopes.
    #[must_use]
    pub fn new(grants: &Grants, scopes: &[&str]) -> Self {
        Casbin { routes: Routes::of(grants), enforcer: loaded(grants, scopes) }
    }
}

impl Authorizer for Casbin {
    fn allows(&mut self, method: &str, path: &str) -> bool {
        let Some(route) = self.routes.find(method, path) else { return false };
        let Some(route) = self.routes.names().get(route) else { return false };
        self.enforcer.enforce(("caller", route)).expect("it evaluates")
    }
}

/// casbin's enforcer with its cache of answers: the measurements ask the same questions again and again, so
/// after the first round it only looks them up.
pub struct CasbinCached {
    routes: Routes,
    enforcer: CachedEnforcer,
}

impl CasbinCached {
    /// A caller with these scopes.
    #[must_use]
    pub fn new(grants: &Grants, scopes: &[&str]) -> Self {
        CasbinCached { routes: Routes::of(grants), enforcer: loaded(grants, scopes) }
    }
}

impl Authorizer for CasbinCached {
    fn allows(&mut self, method: &str, path: &str) -> bool {
        let Some(route) = self.routes.find(method, path) else { return false };
        let Some(route) = self.routes.names().get(route) else { return false };
        self.enforcer.enforce(("caller", route)).expect("it evaluates")
    }
}

fn loaded<E: CoreApi + MgmtApi>(grants: &Grants, scopes: &[&str]) -> E {
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let model = DefaultModel::from_str(MODEL).await.expect("a model");
        let mut enforcer = E::new(model, MemoryAdapter::default()).await.expect("an enforcer");
        for (scope, routes) in grants {
            let line = |route: &String| vec![format!("scope:{scope}"), route.clone()];
            let lines = routes.iter().map(line).collect();
            enforcer.add_policies(lines).await.expect("lines of policy");
        }
        let role = |scope: &&str| vec!["caller".to_owned(), format!("scope:{scope}")];
        let roles: Vec<Vec<String>> = scopes.iter().map(role).collect();
        if !roles.is_empty() {
            enforcer.add_grouping_policies(roles).await.expect("roles");
        }
        enforcer
    })
}
