//! Routes by method and path.
//!
//! Routes without parameters are one hash look-up. The others are a tree of segments per method,
//! walked only when that look-up misses.

use alloc::boxed::Box;
use alloc::vec::Vec;

use hashbrown::HashTable;

use crate::policy::compiled::RouteId;
use crate::policy::pattern::{Pattern, Segment};

/// Finds the route of a request.
#[derive(Debug, Default)]
pub(crate) struct Router {
    /// Methods beyond the usual ones, by number from [`FIRST_OTHER_METHOD`].
    other_methods: Vec<Box<[u8]>>,
    fixed: HashTable<FixedRoute>,
    nodes: Vec<Node>,
    /// Roots of the trees in `nodes`, by number of method.
    roots: Vec<Option<usize>>,
}

#[derive(Debug)]
struct FixedRoute {
    method: usize,
    path: Box<[u8]>,
    route: RouteId,
}

/// A place between two segments.
#[derive(Debug, Default)]
struct Node {
    /// Where each literal leads, sorted.
    literals: Vec<(Box<[u8]>, usize)>,
    /// Where any segment leads.
    param: Option<usize>,
    /// The route that ends here.
    route: Option<RouteId>,
}

impl Router {
    /// The route of a request with this method and canonical path. HEAD is looked up as GET.
    ///
    /// A literal segment wins over a parameter, from the left; where it leads to no route, the
    /// parameter is tried.
    pub(crate) fn find(&self, method: &[u8], path: &[u8]) -> Option<RouteId> {
        self.find_fixed(method, path).or_else(|| {
            let root = *self.roots.get(self.method_number(method)?)?;
            self.walk(root?, path.strip_prefix(b"/")?)
        })
    }

    /// The route without parameters that is just this path. Paths of routes are canonical, so the path
    /// need not be known to be.
    #[inline]
    pub(crate) fn find_fixed(&self, method: &[u8], path: &[u8]) -> Option<RouteId> {
        let method = self.method_number(method)?;
        let same = |fixed: &FixedRoute| fixed.method == method && *fixed.path == *path;
        self.fixed.find(hash(method, path), same).map(|fixed| fixed.route)
    }

    /// Each node is reached by one way only, so a look-up visits at most all nodes, whatever the path.
    fn walk(&self, node: usize, path: &[u8]) -> Option<RouteId> {
        let node = self.nodes.get(node)?;
        let (segment, rest) = match path.iter().position(|byte| *byte == b'/') {
            Some(slash) => (path.get(..slash)?, path.get(slash.checked_add(1)?..)),
            None => (path, None),
        };
        let go_on = |next: usize| match rest {
            Some(rest) => self.walk(next, rest),
            None => self.nodes.get(next)?.route,
        };
        let literal = node.literals.binary_search_by(|(known, _)| (**known).cmp(segment)).ok();
        let literal = literal.and_then(|index| node.literals.get(index));
        literal
            .and_then(|(_, next)| go_on(*next))
            .or_else(|| node.param.filter(|_| !segment.is_empty()).and_then(go_on))
    }

    /// Adds a route; the error is the route that matches the same requests already.
    pub(crate) fn insert(&mut self, pattern: &Pattern<'_>, route: RouteId) -> Result<(), RouteId> {
        let method = self.add_method(pattern.method.as_bytes());
        if pattern.is_static() {
            return self.insert_fixed(method, pattern.path.as_bytes(), route);
        }
        let mut at = self.root(method);
        for segment in &pattern.segments {
            at = self.child(at, *segment);
        }
        match self.nodes.get_mut(at) {
            Some(Node { route: Some(taken), .. }) => Err(*taken),
            Some(node) => {
                node.route = Some(route);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn insert_fixed(&mut self, method: usize, path: &[u8], route: RouteId) -> Result<(), RouteId> {
        let hash_of = |fixed: &FixedRoute| hash(fixed.method, &fixed.path);
        let same = |fixed: &FixedRoute| fixed.method == method && *fixed.path == *path;
        if let Some(taken) = self.fixed.find(hash(method, path), same) {
            return Err(taken.route);
        }
        let fixed = FixedRoute { method, path: path.into(), route };
        self.fixed.insert_unique(hash(method, path), fixed, hash_of);
        Ok(())
    }

    fn root(&mut self, method: usize) -> usize {
        if self.roots.len() <= method {
            self.roots.resize(method.saturating_add(1), None);
        }
        if let Some(Some(root)) = self.roots.get(method) {
            return *root;
        }
        let root = self.add_node();
        if let Some(slot) = self.roots.get_mut(method) {
            *slot = Some(root);
        }
        root
    }

    fn child(&mut self, at: usize, segment: Segment<'_>) -> usize {
        let next = self.nodes.len();
        let Some(node) = self.nodes.get_mut(at) else { return at };
        let existing = match segment {
            Segment::Param(_) => node.param.replace(node.param.unwrap_or(next)),
            Segment::Literal(text) => {
                let found =
                    node.literals.binary_search_by(|(known, _)| (**known).cmp(text.as_bytes()));
                match found {
                    Ok(index) => node.literals.get(index).map(|(_, node)| *node),
                    Err(index) => {
                        node.literals.insert(index, (text.as_bytes().into(), next));
                        None
                    }
                }
            }
        };
        existing.unwrap_or_else(|| self.add_node())
    }

    fn add_node(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len().saturating_sub(1)
    }

    fn add_method(&mut self, method: &[u8]) -> usize {
        self.method_number(method).unwrap_or_else(|| {
            self.other_methods.push(method.into());
            FIRST_OTHER_METHOD.saturating_add(self.other_methods.len()).saturating_sub(1)
        })
    }

    fn method_number(&self, method: &[u8]) -> Option<usize> {
        match method {
            b"GET" | b"HEAD" => Some(0),
            b"POST" => Some(1),
            b"PUT" => Some(2),
            b"PATCH" => Some(3),
            b"DELETE" => Some(4),
            b"OPTIONS" => Some(5),
            _ => {
                let index = self.other_methods.iter().position(|known| **known == *method)?;
                FIRST_OTHER_METHOD.checked_add(index)
            }
        }
    }
}

const FIRST_OTHER_METHOD: usize = 6;

/// Eight bytes at a time, the last eight overlapping. It need not resist chosen keys: the table
/// holds only what the policy put there, so a chosen path can cost no more than one comparison.
fn hash(method: usize, path: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |state: u64, word: u64| (state.rotate_left(5) ^ word).wrapping_mul(ODD);
    let mut state = mix(method as u64, path.len() as u64);
    if let Some(tail) = path.last_chunk::<8>() {
        for word in path.as_chunks::<8>().0 {
            state = mix(state, u64::from_le_bytes(*word));
        }
        state = mix(state, u64::from_le_bytes(*tail));
    } else {
        for byte in path {
            state = mix(state, u64::from(*byte));
        }
    }
    // The table takes its position from the low bits and its tags from the high ones.
    state ^ state.wrapping_shr(32)
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use proptest::prelude::*;

    use super::*;

    fn router(patterns: &[&str]) -> Router {
        let mut router = Router::default();
        for (index, text) in patterns.iter().enumerate() {
            let id = RouteId(u16::try_from(index).unwrap());
            router.insert(&Pattern::parse(text).unwrap(), id).unwrap();
        }
        router
    }

    fn find(router: &Router, method: &str, path: &str) -> Option<usize> {
        router.find(method.as_bytes(), path.as_bytes()).map(|id| usize::from(id.0))
    }

    #[test]
    fn literals_win_and_parameters_are_tried_after_them() {
        let router = router(&[
            "GET /a/{x}/c",
            "GET /a/b/d",
            "GET /a/b",
            "GET /a/{x}",
            "GET /{x}/b/e",
            "GET /",
            "GET /{only}",
            "POST /a",
            "PROPFIND /a",
            "PROPFIND /{x}/y",
        ]);
        assert_eq!(find(&router, "GET", "/a/b/c"), Some(0));
        assert_eq!(find(&router, "GET", "/a/b/d"), Some(1));
        assert_eq!(find(&router, "GET", "/a/b"), Some(2));
        assert_eq!(find(&router, "GET", "/a/z"), Some(3));
        assert_eq!(find(&router, "GET", "/a/b/e"), Some(4));
        assert_eq!(find(&router, "GET", "/"), Some(5));
        assert_eq!(find(&router, "GET", "/q"), Some(6));
        assert_eq!(find(&router, "HEAD", "/q"), Some(6));
        assert_eq!(find(&router, "POST", "/a"), Some(7));
        assert_eq!(find(&router, "PROPFIND", "/a"), Some(8));
        assert_eq!(find(&router, "PROPFIND", "/b/y"), Some(9));
        for (method, path) in [
            ("get", "/a"),
            ("PUT", "/a"),
            ("GET", "/a/b/f"),
            ("GET", ""),
            ("GET", "a"),
            ("LOCK", "/a"),
        ] {
            assert_eq!(find(&router, method, path), None, "{method} {path}");
        }
    }

    #[test]
    fn a_parameter_takes_one_segment_that_is_not_empty() {
        let router = router(&["GET /a/{x}", "GET /{x}/{y}/z"]);
        assert_eq!(find(&router, "GET", "/a/"), None);
        assert_eq!(find(&router, "GET", "/a/b/c"), None);
        assert_eq!(find(&router, "GET", "/a//z"), None);
        assert_eq!(find(&router, "GET", "/a/q/z"), Some(1));
    }

    /// The best match by trying all patterns, literals before parameters from the left.
    fn naive(patterns: &[String], method: &str, path: &str) -> Option<usize> {
        let method = if method == "HEAD" { "GET" } else { method };
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let matching = patterns.iter().enumerate().filter_map(|(index, pattern)| {
            let pattern = Pattern::parse(pattern).unwrap();
            let fits = pattern.method == method
                && pattern.segments.len() == segments.len()
                && pattern.segments.iter().zip(&segments).all(|(known, found)| match known {
                    Segment::Literal(text) => text == found,
                    Segment::Param(_) => !found.is_empty(),
                });
            let params: Vec<bool> =
                pattern.segments.iter().map(|part| matches!(part, Segment::Param(_))).collect();
            fits.then_some((params, index))
        });
        matching.min().map(|(_, index)| index)
    }

    fn segments(alphabet: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
        proptest::collection::vec(proptest::sample::select(alphabet), 1..5)
    }

    proptest! {
        #[test]
        fn agrees_with_trying_all_patterns(
            written in proptest::collection::vec(
                (proptest::sample::select(&["GET", "POST", "LOCK"][..]),
                 segments(&["a", "b", "longer-than-eight", "{}"])),
                0..24,
            ),
            asked in proptest::collection::vec(
                (proptest::sample::select(&["GET", "HEAD", "POST", "LOCK", "get"][..]),
                 segments(&["a", "b", "longer-than-eight", "c", ""])),
                1..24,
            ),
        ) {
            let mut router = Router::default();
            let mut taken: Vec<String> = Vec::new();
            for (method, parts) in written {
                let named: Vec<String> = parts.iter().enumerate()
                    .map(|(at, part)| part.replace("{}", &format!("{{p{at}}}"))).collect();
                let text = format!("{method} /{}", named.join("/"));
                let id = RouteId(u16::try_from(taken.len()).unwrap());
                match router.insert(&Pattern::parse(&text).unwrap(), id) {
                    Ok(()) => taken.push(text),
                    Err(other) => prop_assert_eq!(&taken[usize::from(other.0)], &text),
                }
            }
            for (method, parts) in asked {
                let path = format!("/{}", parts.join("/"));
                prop_assert_eq!(find(&router, method, &path), naive(&taken, method, &path));
            }
        }

        #[test]
        fn never_panics(method: Vec<u8>, path: Vec<u8>) {
            let router = router(&["GET /{x}", "LOCK /a/{b}/c", "GET /a"]);
            let _ = router.find(&method, &path);
            let _ = router.find(b"LOCK", &path);
        }
    }
}
