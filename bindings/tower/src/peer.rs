//! The address of the TCP peer, from what a server leaves in a request's extensions.

use std::net::IpAddr;

use http::request::Parts;

/// The address of the TCP peer, as a request extension: for servers that are not axum's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub IpAddr);

/// [`PeerAddr`], else axum's `ConnectInfo<SocketAddr>` (feature `axum`), else nothing.
pub(crate) fn from_extensions(parts: &Parts) -> Option<IpAddr> {
    if let Some(PeerAddr(address)) = parts.extensions.get() {
        return Some(*address);
    }
    #[cfg(feature = "axum")]
    if let Some(axum::extract::ConnectInfo(address)) =
        parts.extensions.get::<axum::extract::ConnectInfo<std::net::SocketAddr>>()
    {
        return Some(address.ip());
    }
    None
}
