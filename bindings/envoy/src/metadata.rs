//! What was decided, as dynamic metadata of the stream: for access logs, headers and other filters.

use tollgate::{AccountId, Decision, Engine, Settled, Shadows, Status, Verdict};

use crate::host::Stream;
use crate::settings::MetadataNames;
use crate::store::Place;

/// Every entry there is.
const NAMES: [&str; 9] = [
    "verdict",
    "code",
    "status",
    "account",
    "route",
    "reserved",
    "reservation",
    "shadow",
    "settled",
];

/// Which entries are set, and where. Each costs Envoy time on every request.
pub(crate) struct Metadata {
    namespace: String,
    wanted: Vec<&'static str>,
}

impl Metadata {
    /// These entries in this namespace.
    ///
    /// # Errors
    /// A name that no entry has.
    pub(crate) fn new(
        namespace: String,
        names: Option<&MetadataNames>,
    ) -> Result<Metadata, String> {
        let known = |name: &String| {
            let found = NAMES.iter().find(|known| *known == name).copied();
            found.ok_or_else(|| format!("`metadata`: no `{name}`; there are: {}", NAMES.join(", ")))
        };
        let wanted = match names {
            None => Vec::new(),
            Some(MetadataNames::All(_)) => NAMES.to_vec(),
            Some(MetadataNames::Listed(names)) => {
                names.iter().map(known).collect::<Result<_, _>>()?
            }
        };
        Ok(Metadata { namespace, wanted })
    }

    fn wants(&self, name: &str) -> bool {
        self.wanted.contains(&name)
    }

    /// Sets what a decision says; an entry is absent where there is nothing to say.
    pub(crate) fn decided(
        &self,
        stream: &mut Stream<'_>,
        engine: &Engine,
        place: &Place,
        decision: &Decision,
    ) {
        if self.wanted.is_empty() {
            return;
        }
        let mut entries = Entries { metadata: self, entries: Vec::with_capacity(NAMES.len()) };
        let status = decision.status();
        let number = status.number().to_string();
        let account = decision.account().filter(|_| self.wants("account"));
        let account = account.and_then(|account| place.account_id(account));
        let reserved = decision.reserved().map(|amount| amount.0.to_string());
        let reservation = decision.ticket().map(|ticket| ticket.reservation.0.to_string());
        let shadow = shadow(decision.shadows());
        entries.add("verdict", verdict(decision.verdict()));
        entries.add("code", status.code());
        entries.add("status", &number);
        entries.add("account", account.as_ref().map_or("", AccountId::as_str));
        let route = decision.route().and_then(|route| engine.policy().route(route));
        entries.add("route", route.map_or("", |route| &*route.name));
        entries.add("reserved", reserved.as_deref().unwrap_or_default());
        entries.add("reservation", reservation.as_deref().unwrap_or_default());
        entries.add("shadow", &shadow);
        entries.set(stream);
    }

    /// Sets what was posted.
    pub(crate) fn settled(&self, stream: &mut Stream<'_>, settled: Settled) {
        let mut entries = Entries { metadata: self, entries: Vec::with_capacity(NAMES.len()) };
        let posted = settled.posted.map(|posted| posted.0.to_string());
        entries.add("settled", posted.as_deref().unwrap_or_default());
        entries.set(stream);
    }

    /// Sets that a request passed undecided, because the store is not open.
    pub(crate) fn undecided(&self, stream: &mut Stream<'_>) {
        let mut entries = Entries { metadata: self, entries: Vec::with_capacity(NAMES.len()) };
        let status = Status::StoreUnavailable;
        let number = status.number().to_string();
        entries.add("verdict", "allow");
        entries.add("code", status.code());
        entries.add("status", &number);
        entries.set(stream);
    }
}

struct Entries<'a> {
    metadata: &'a Metadata,
    entries: Vec<(&'static str, &'a str)>,
}

impl<'a> Entries<'a> {
    fn add(&mut self, name: &'static str, value: &'a str) {
        if !value.is_empty() && self.metadata.wants(name) {
            self.entries.push((name, value));
        }
    }

    fn set(self, stream: &mut Stream<'_>) {
        if !self.entries.is_empty() {
            stream.set_metadata(&self.metadata.namespace, &self.entries);
        }
    }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
        Verdict::Replay => "replay",
    }
}

fn shadow(shadows: &Shadows) -> String {
    let named = [
        (shadows.limits != 0, "limits"),
        (shadows.spend_caps, "spend_caps"),
        (shadows.networks, "networks"),
    ];
    let named: Vec<&str> = named.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
    named.join(",")
}
