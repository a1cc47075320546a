//! Who is at the other end of a connection.

use std::net::SocketAddr;

use http::{Extensions, StatusCode};
use tollgate::IpNet;

use crate::reply::Fault;
use crate::seldom::Seldom;

/// The other end, as an extension of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Tcp(SocketAddr),
    /// A socket in the file system: whoever its permissions let in.
    Unix,
}

impl Caller {
    /// The caller of a request. Without one it is a caller from nowhere, who may do nothing.
    pub(crate) fn of(extensions: &Extensions) -> Caller {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        extensions.get().copied().unwrap_or(Caller::Tcp(nowhere))
    }

    /// # Errors
    /// A caller that is not in these networks.
    pub(crate) fn must_be_one_of(self, proxies: &[IpNet]) -> Result<(), Fault> {
        let Caller::Tcp(address) = self else { return Ok(()) };
        let address = address.ip().to_canonical();
        if proxies.iter().any(|network| network.contains(&address)) {
            return Ok(());
        }
        static REFUSED: Seldom = Seldom::new();
        if REFUSED.is_time() {
            tracing::warn!(%address, "asked by an address that is no proxy; --proxy names those that may ask");
        }
        let message = "only proxies that the server knows may ask on behalf of clients";
        Err(Fault::new(StatusCode::FORBIDDEN, "not_a_proxy", message))
    }
}
