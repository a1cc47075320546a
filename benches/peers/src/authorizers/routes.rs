//! Routes and the scopes that grant them: those of the preset, for everyone.

use std::collections::BTreeMap;

use matchit::Router;

/// Names of scopes, and the routes of each, as `METHOD /path/{param}`.
pub type Grants = BTreeMap<String, Vec<String>>;

/// Finds the route of a request.
#[derive(Debug)]
pub struct Routes {
    names: Vec<String>,
    methods: Vec<(String, Router<usize>)>,
}

impl Routes {
    /// What the preset grants.
    ///
    /// # Panics
    /// When there is no such preset.
    #[must_use]
    pub fn grants() -> Grants {
        let preset = tollgate::preset("sms-gateway").expect("a preset");
        let scopes = preset.scopes.into_iter();
        scopes.map(|(scope, routes)| (scope, routes.into_iter().collect())).collect()
    }

    /// The routes of these grants.
    ///
    /// # Panics
    /// When two routes are in conflict.
    #[must_use]
    pub fn of(grants: &Grants) -> Self {
        let names: Vec<String> = grants.values().flatten().cloned().collect();
        let mut methods: Vec<(String, Router<usize>)> = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let (method, pattern) = name.split_once(' ').expect("METHOD /path");
            if !methods.iter().any(|(known, _)| known == method) {
                methods.push((method.to_owned(), Router::new()));
            }
            let (_, router) = methods.iter_mut().find(|(known, _)| known == method).unwrap();
            router.insert(pattern, index).expect("routes do not conflict");
        }
        Routes { names, methods }
    }

    /// Their names, in the order of their numbers.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The number of the route of this request.
    #[inline]
    #[must_use]
    pub fn find(&self, method: &str, path: &str) -> Option<usize> {
        let (_, router) = self.methods.iter().find(|(known, _)| known == method)?;
        Some(*router.at(path).ok()?.value)
    }
}

/// A method and a path that this route matches.
///
/// # Panics
/// When it is no name of a route.
#[must_use]
pub fn question(route: &str) -> (String, String) {
    let (method, pattern) = route.split_once(' ').expect("METHOD /path");
    (method.to_owned(), pattern.replace("{id}", "id_7f3a9c"))
}
