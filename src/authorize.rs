//! Networks and scopes: whether a known token may call this endpoint from this address.

use core::net::IpAddr;

use crate::client_ip::in_networks;
use crate::command::Credential;

/// Whether the source address is inside the networks of both the account and the token. A list that
/// is empty is open; an address that is not known is inside none.
pub(crate) fn source_is_allowed(credential: &Credential, source: Option<IpAddr>) -> bool {
    let account = credential.settings.as_deref().map_or(&[][..], |settings| &settings.networks);
    let token = credential.token.as_deref().map_or(&[][..], |token| &token.networks);
    [account, token].into_iter().all(|networks| {
        networks.is_empty() || source.is_some_and(|address| in_networks(address, networks))
    })
}

/// Whether any network restricts the credential.
pub(crate) fn has_networks(credential: &Credential) -> bool {
    credential.settings.as_deref().is_some_and(|settings| !settings.networks.is_empty())
        || credential.token.as_deref().is_some_and(|token| !token.networks.is_empty())
}
