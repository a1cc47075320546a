//! Routes by method and path.

/// Finds the route of a request.
#[derive(Debug)]
pub(crate) struct Router {}
